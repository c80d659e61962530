-- The items of orders from one id up to another. $3 is null where there is no upper one; $11 says whether anything is asked of
-- the orders, and $12 whether it is how their customers are called. `offset 0` has each order looked up by its keys: PostgreSQL
-- expects one pair of an order and its keys in all, and would go through all pairs for each item.
select
    order_item_id, order_items.order_id, product_id, quantity, unit_price, line_total, contact_name, contact_email,
    order_items.xmin as row_xmin
from order_items
left join lateral (
    select customer_name_snapshot as contact_name, customer_email_snapshot as contact_email
    from order_keys
    join orders using (tenant_id, order_date, order_id)
    where $12::boolean and order_keys.tenant_id = $1 and orders.tenant_id = $1
        and order_keys.order_id = order_items.order_id
    offset 0
) as contacts on true
where tenant_id = $1
    and order_item_id >= $2
    and ($3::uuid is null or order_item_id < $3)
    and (cardinality($4::uuid[]) = 0 or product_id = any ($4))
    and (not $11::boolean or exists (
        select from order_keys
        join orders using (tenant_id, order_date, order_id)
        where order_keys.tenant_id = $1 and orders.tenant_id = $1 and order_keys.order_id = order_items.order_id
            and (cardinality($5::text[]) = 0 or order_status = any ($5))
            and ($6::bigint is null or total_amount >= $6::bigint::numeric / 100)
            and ($7::bigint is null or total_amount <= $7::bigint::numeric / 100)
            and ($8::timestamptz is null or orders.order_date >= $8)
            and ($9::timestamptz is null or orders.order_date < $9)
            and ($10::text is null or raw_payload @> $10::text::jsonb)
        offset 0
    ))
