select
    order_items.order_item_id, order_items.product_id, order_items.quantity, order_items.unit_price, order_items.line_total,
    products.sku, products.name
from order_items
left join products on products.tenant_id = $1 and products.product_id = order_items.product_id
where order_items.tenant_id = $1 and order_items.order_id = $2 and ($3::uuid is null or order_items.order_item_id > $3)
order by order_items.order_item_id
limit $4
