select product_id
from stock_levels
where tenant_id = $1 and product_id > $2
order by product_id
limit $3
