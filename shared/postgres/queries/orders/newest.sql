select order_date
from orders
where
    tenant_id = $1
    and ($2::timestamptz is null or order_date >= $2)
    and ($3::timestamptz is null or order_date < $3)
order by order_date desc
limit 1
