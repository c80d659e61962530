-- Of products that had none. The rows come in the order of their products: whoever inserts the same ones waits here, and is
-- told that they are there.
insert into stock_levels (tenant_id, product_id, level, set_at, sequence, updated_at)
select $1, product_id, level, set_at, sequence, now()
from
    unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::bigint[])
    as new (product_id, level, set_at, sequence)
