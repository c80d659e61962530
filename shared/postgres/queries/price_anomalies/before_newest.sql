-- The last anomaly before the newest $3, whenever those were received: whoever waits for more of them then looks no further
-- back. What is not told yet is told later: see page.sql.
select recorded_in::text as recorded_in, place, price_event_id
from price_events
where
    tenant_id = $1
    and ($2::uuid is null or product_id = $2)
    and anomaly_detected
    and (
        recorded_in < pg_snapshot_xmin(pg_current_snapshot())
        or recorded_in >= pg_snapshot_xmax(pg_current_snapshot())
    )
order by recorded_in desc, place desc, price_event_id desc
offset $3
limit 1
