select max(orders)::bigint as orders
from (
    select sum(num_orders) as orders
    from sales_days
    where tenant_id = $1
    group by day
) as days
