select
    orders.order_date, orders.order_id, orders.external_order_id, customer_id, customer_name_snapshot,
    customer_email_snapshot, total_amount, currency, order_status, created_at, raw_payload::text as raw_payload
from order_keys
join orders
    on orders.tenant_id = $1
    and orders.order_date = order_keys.order_date
    and orders.order_id = order_keys.order_id
where order_keys.tenant_id = $1 and order_keys.order_id = $2
