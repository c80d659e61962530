-- The rows come sorted by id: two transactions that record the same ids in other products wait for each other in one order.
insert into stock_events (
    tenant_id, stock_event_id, product_id, delta, set, expected, outcome, change, resulting_level, sequence, event_time,
    source, meta, created_at
)
select
    $1, id, product_id, delta, set_to, expected, outcome, change, level, sequence, event_time, source, meta::jsonb, created_at
from
    unnest(
        $2::uuid[], $3::uuid[], $4::integer[], $5::integer[], $6::integer[], $7::text[], $8::integer[], $9::integer[],
        $10::bigint[], $11::timestamptz[], $12::text[], $13::text[], $14::timestamptz[]
    ) as recorded (
        id, product_id, delta, set_to, expected, outcome, change, level, sequence, event_time, source, meta, created_at
    )
