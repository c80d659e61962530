select order_keys.order_id, orders.customer_name_snapshot, orders.customer_email_snapshot
from order_keys
join orders
    on orders.tenant_id = $1
    and orders.order_date = order_keys.order_date
    and orders.order_id = order_keys.order_id
where order_keys.tenant_id = $1 and order_keys.contact is null
limit $2
