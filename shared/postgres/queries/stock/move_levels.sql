update stock_levels as stored
set level = moved.level, set_at = moved.set_at, sequence = moved.sequence, updated_at = now()
from
    unnest($2::uuid[], $3::integer[], $4::timestamptz[], $5::bigint[])
    as moved (product_id, level, set_at, sequence)
where stored.tenant_id = $1 and stored.product_id = moved.product_id
