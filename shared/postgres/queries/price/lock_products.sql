-- In one order, whoever locks. What is locked is read as it was committed last, whenever this statement began.
select product_id, (price * 100)::bigint as price_cents
from products
where tenant_id = $1 and product_id = any($2)
order by product_id
for no key update
