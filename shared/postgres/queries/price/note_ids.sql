-- For a transaction that is rolled back: what follows in it is to see the ids. As events for which nobody waits, and in the
-- order in which everybody records.
insert into price_events (
    tenant_id, price_event_id, product_id, old_price, new_price, event_time, received_at, outcome, anomaly_detected, suspect,
    reasons, place
)
select $1, id, product_id, 0, 0, now(), now(), 'stale_ignored', false, false, '[]', 0
from unnest($2::uuid[], $3::uuid[]) as noted (id, product_id)
order by id
