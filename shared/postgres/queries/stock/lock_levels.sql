-- In one order, whoever locks. What is locked is read as it was committed last, whenever this statement began.
select product_id, level, set_at, sequence
from stock_levels
where tenant_id = $1 and product_id = any($2)
order by product_id
for no key update
