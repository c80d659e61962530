select order_items.order_id, order_items.product_id, quantity, line_total, category_id
from orders
join order_items on order_items.tenant_id = $1 and order_items.order_id = orders.order_id
left join products on products.tenant_id = $1 and products.product_id = order_items.product_id
where
    orders.tenant_id = $1 and order_date >= $2 and order_date < $3
