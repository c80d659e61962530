-- Told are those of transactions before the oldest that still runs: one that ends later may have recorded an event that
-- stands before them, which nobody who reads on from there would see. What was recorded in another server, from which the
-- rows were restored, may have the number of a transaction that is yet to come.
select
    recorded_in::text as recorded_in, place, price_event_id, product_id, old_price::text as old_price,
    new_price::text as new_price, pct_change::text as pct_change, anomaly_reason, reasons::text as reasons, suspect,
    coalesce(decision, outcome) as status, source, event_time, received_at
from price_events
where
    tenant_id = $1
    and ($2::uuid is null or product_id = $2)
    and anomaly_detected
    and received_at >= $3
    and (recorded_in, place, price_event_id) > ($4::text::xid8, $5, $6)
    and (
        recorded_in < pg_snapshot_xmin(pg_current_snapshot())
        or recorded_in >= pg_snapshot_xmax(pg_current_snapshot())
    )
order by recorded_in, place, price_event_id
limit $7
