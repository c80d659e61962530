-- The orders from one key up to another. $4 is null where there is no upper one.
select
    order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot, total_amount, currency,
    order_status, order_date, raw_payload, created_at, customer_name_snapshot as contact_name,
    customer_email_snapshot as contact_email, orders.xmin as row_xmin
from orders
where tenant_id = $1
    and order_date >= $2 and (order_date, order_id) >= ($2, $3)
    and ($4::timestamptz is null or order_date <= $4 and (order_date, order_id) < ($4, $5))
    and (cardinality($6::text[]) = 0 or order_status = any ($6))
    and (cardinality($7::uuid[]) = 0 or exists (
        select from order_items
        where order_items.tenant_id = $1 and order_items.order_id = orders.order_id and product_id = any ($7)
    ))
    and ($8::bigint is null or total_amount >= $8::bigint::numeric / 100)
    and ($9::bigint is null or total_amount <= $9::bigint::numeric / 100)
    and ($10::timestamptz is null or order_date >= $10)
    and ($11::timestamptz is null or order_date < $11)
    and ($12::text is null or raw_payload @> $12::text::jsonb)
