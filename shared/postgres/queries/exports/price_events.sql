-- The price events from one id up to another. $3 is null where there is no upper one.
select
    price_event_id as event_id, product_id, old_price, new_price, source, metadata, event_time, received_at, outcome,
    pct_change, anomaly_detected, anomaly_reason, suspect, reasons, decision, decided_at, price_events.xmin as row_xmin
from price_events
where tenant_id = $1
    and price_event_id >= $2
    and ($3::uuid is null or price_event_id < $3)
    and (cardinality($4::uuid[]) = 0 or product_id = any ($4))
    and ($5::bigint is null or new_price >= $5::bigint::numeric / 100)
    and ($6::bigint is null or new_price <= $6::bigint::numeric / 100)
    and ($7::timestamptz is null or received_at >= $7)
    and ($8::timestamptz is null or received_at < $8)
