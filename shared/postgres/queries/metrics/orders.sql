select order_id, order_date, currency, total_amount, customer_id
from orders
where tenant_id = $1 and order_date >= $2 and order_date < $3
