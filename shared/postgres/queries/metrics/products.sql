select day, products as totals
from sales_days
where tenant_id = $1 and day >= $2 and day < $3 and ($4::text is null or currency = $4)
