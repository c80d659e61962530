-- The items of orders from one id up to another, in their order. $3 is null where there is no upper one; $12 says whether
-- anything is asked of the orders.
select
    order_item_id, order_id, product_id, quantity, unit_price, line_total, order_items.xmin as row_xmin
from order_items
where tenant_id = $1
    and order_item_id >= $2
    and ($3::uuid is null or order_item_id < $3)
    and (cardinality($4::uuid[]) = 0 or product_id = any ($4))
    and (not $12::boolean or exists (
        select from order_keys
        join orders using (tenant_id, order_date, order_id)
        where order_keys.tenant_id = $1 and orders.tenant_id = $1 and order_keys.order_id = order_items.order_id
            and ($5::text is null
                or position(lower($5) in lower(customer_name_snapshot)) > 0
                or position(lower($5) in lower(customer_email_snapshot)) > 0)
            and (cardinality($6::text[]) = 0 or order_status = any ($6))
            and ($7::bigint is null or total_amount >= $7::bigint::numeric / 100)
            and ($8::bigint is null or total_amount <= $8::bigint::numeric / 100)
            and ($9::timestamptz is null or orders.order_date >= $9)
            and ($10::timestamptz is null or orders.order_date < $10)
            and ($11::jsonb is null or raw_payload @> $11)
    ))
order by order_item_id
