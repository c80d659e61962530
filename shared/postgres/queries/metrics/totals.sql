select day, sum_sales, num_orders, customers
from sales_days
where tenant_id = $1 and day >= $2 and day < $3 and ($4::text is null or currency = $4)
