-- The newest first, before a cursor's place.
select
    stock_event_id, delta, set, expected, outcome, change, resulting_level, sequence, event_time, source, meta::text as meta,
    created_at
from stock_events
where tenant_id = $1 and product_id = $2 and sequence < $3
order by sequence desc
limit $4
