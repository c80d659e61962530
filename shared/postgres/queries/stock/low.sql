-- After a cursor's place; the first page begins before every level.
select product_id, level, set_at, sequence, updated_at
from stock_levels
where tenant_id = $1 and level < $2 and (level, product_id) > ($3, $4)
order by level, product_id
limit $5
