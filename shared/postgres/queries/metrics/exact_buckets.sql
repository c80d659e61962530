select
    width_bucket(order_date, $5::timestamptz[]) as bucket,
    grouping(width_bucket(order_date, $5::timestamptz[])) = 1 as is_total,
    sum(total_amount) as sum_sales,
    null::bigint as quantity,
    count(*) as num_orders,
    count(distinct customer_id) as customers
from orders
where tenant_id = $1 and order_date >= $2 and order_date < $3 and ($4::text is null or currency = $4)
group by grouping sets ((1), ())
