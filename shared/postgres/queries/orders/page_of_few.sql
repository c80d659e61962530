-- As page.sql, for conditions that few orders meet: which ones do is told by the index alone, and their rows are read then.
select
    orders.order_date, orders.order_id, orders.external_order_id, orders.customer_id, orders.customer_name_snapshot,
    orders.customer_email_snapshot, orders.total_amount, orders.currency, orders.order_status, orders.created_at,
    case when $12 then orders.raw_payload::text end as raw_payload
from (
    select order_date, order_id
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
) as found
join orders
    on orders.tenant_id = $1
    and orders.order_date = found.order_date
    and orders.order_id = found.order_id
    and orders.order_date >= $2
    and orders.order_date < $3
order by orders.order_date desc, orders.order_id desc
