-- The next orders in the order of pages, newest first. Conditions that are null ask for nothing; the text is looked for by
-- whoever reads the rows. With `offset` the items are looked up order by order: gathered first, those of a product that
-- sells well would take longer than the page.
select
    order_date, order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot, total_amount,
    currency, order_status, created_at, case when $12 then raw_payload::text end as raw_payload
from orders
where
    tenant_id = $1
    and order_date >= $2
    and order_date < $3
    and ($4::timestamptz is null or order_date <= $4 and (order_date, order_id) < ($4, $5::uuid))
    and ($6::text[] is null or order_status = any($6))
    and ($7::numeric is null or total_amount >= $7)
    and ($8::numeric is null or total_amount <= $8)
    and ($9::text::jsonb is null or raw_payload @> $9::text::jsonb)
    and (
        $10::uuid[] is null
        or exists (
            select from order_items
            where
                order_items.tenant_id = $1
                and order_items.order_id = orders.order_id
                and order_items.product_id = any($10)
            offset 0
        )
    )
order by order_date desc, order_id desc
limit $11
