select distinct (order_date at time zone 'utc')::date as day
from order_items
join order_keys using (tenant_id, order_id)
where tenant_id = $1 and product_id = any($2)
