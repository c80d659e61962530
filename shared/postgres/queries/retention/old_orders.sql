select order_id, order_date
from orders
where tenant_id = $1 and order_date >= $2 and order_date < $3
order by order_date, order_id
limit $4
