select min(order_date)
from orders
where tenant_id = $1 and order_date < $2
