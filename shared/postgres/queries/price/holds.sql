select
    price_event_id,
    product_id,
    (old_price * 100)::bigint as old_cents,
    (new_price * 100)::bigint as new_cents,
    source::text,
    metadata::text,
    event_time,
    received_at,
    (pct_change * 100)::bigint as pct_change,
    anomaly_reason::text,
    reasons::text,
    decision::text,
    decided_at,
    (
        select (price * 100)::bigint
        from products
        where tenant_id = $1 and products.product_id = price_events.product_id
    ) as price_cents
from price_events
where
    tenant_id = $1
    and outcome = 'held'
    and ($2::uuid is null or price_event_id = $2)
    and ($3::text is null or coalesce(decision, 'pending') = $3)
    and ($4::timestamptz is null or (received_at, price_event_id) < ($4, $5))
order by received_at desc, price_event_id desc
limit $6
