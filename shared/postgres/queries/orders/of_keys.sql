-- These orders, as page.sql has them. The bounds prune partitions when the statement is planned, the join when it runs.
select
    orders.order_date, orders.order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot,
    total_amount, currency, order_status, created_at, case when $12 then raw_payload::text end as raw_payload
from unnest($2::timestamptz[], $3::uuid[]) as wanted (order_date, order_id)
join orders
    on orders.tenant_id = $1
    and orders.order_date = wanted.order_date
    and orders.order_id = wanted.order_id
    and orders.order_date between $4 and $5
where
    ($6::text[] is null or order_status = any($6))
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
order by orders.order_date desc, orders.order_id desc
limit $11
