-- The levels of products from one id up to another. $3 is null where there is no upper one.
select product_id, level, set_at, sequence, updated_at, stock_levels.xmin as row_xmin
from stock_levels
where tenant_id = $1
    and product_id >= $2
    and ($3::uuid is null or product_id < $3)
    and (cardinality($4::uuid[]) = 0 or product_id = any ($4))
    and ($5::timestamptz is null or updated_at >= $5)
    and ($6::timestamptz is null or updated_at < $6)
