select (order_date at time zone 'utc')::date as day, count(*) as orders
from orders
where
    tenant_id = $1
    and order_date >= $2::date::timestamp at time zone 'utc' and order_date < $3::date::timestamp at time zone 'utc'
group by day
