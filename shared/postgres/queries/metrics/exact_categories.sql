select
    category_id,
    grouping(category_id) = 1 as is_total,
    sum(line_total) as sum_sales,
    sum(quantity)::bigint as quantity,
    count(distinct order_items.order_id) as num_orders,
    count(distinct customer_id) as customers
from orders
join order_items on order_items.tenant_id = $1 and order_items.order_id = orders.order_id
left join products on products.tenant_id = $1 and products.product_id = order_items.product_id
where
    orders.tenant_id = $1 and order_date >= $2 and order_date < $3 and ($4::text is null or currency = $4)
group by grouping sets ((category_id), ())
