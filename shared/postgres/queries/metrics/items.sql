select order_items.order_id, product_id, quantity, line_total
from orders
join order_items on order_items.tenant_id = $1 and order_items.order_id = orders.order_id
where
    orders.tenant_id = $1 and order_date >= $2 and order_date < $3 and ($4::text is null or currency = $4)
