-- For a transaction that is rolled back: what follows in it is to see the ids. Without a sequence, which somebody else may
-- be about to give, and in the order in which everybody records.
insert into stock_events (tenant_id, stock_event_id, product_id, delta, created_at)
select $1, id, product_id, 0, now()
from unnest($2::uuid[], $3::uuid[]) as noted (id, product_id)
order by id
