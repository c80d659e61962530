-- The orders from one key up to another, in their order. $4 is null where there is no upper one.
select
    order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot, total_amount, currency,
    order_status, order_date, raw_payload, created_at, orders.xmin as row_xmin
from orders
where tenant_id = $1
    and order_date >= $2 and (order_date, order_id) >= ($2, $3)
    and ($4::timestamptz is null or order_date <= $4 and (order_date, order_id) < ($4, $5))
    and ($6::text is null
        or position(lower($6) in lower(customer_name_snapshot)) > 0
        or position(lower($6) in lower(customer_email_snapshot)) > 0)
    and (cardinality($7::text[]) = 0 or order_status = any ($7))
    and (cardinality($8::uuid[]) = 0 or exists (
        select from order_items
        where order_items.tenant_id = $1 and order_items.order_id = orders.order_id and product_id = any ($8)
    ))
    and ($9::bigint is null or total_amount >= $9::bigint::numeric / 100)
    and ($10::bigint is null or total_amount <= $10::bigint::numeric / 100)
    and ($11::timestamptz is null or order_date >= $11)
    and ($12::timestamptz is null or order_date < $12)
    and ($13::jsonb is null or raw_payload @> $13)
order by order_date, order_id
