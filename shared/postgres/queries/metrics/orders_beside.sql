-- How many orders the other days had when they were counted.
select coalesce(sum(num_orders), 0)::bigint
from sales_days
where tenant_id = $1 and (day < $2 or day >= $3)
