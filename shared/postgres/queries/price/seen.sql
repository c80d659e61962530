select
    price_event_id,
    product_id,
    outcome::text,
    decision::text,
    anomaly_reason::text,
    suspect,
    reasons::text,
    (pct_change * 100)::bigint as pct_change,
    (
        select (price * 100)::bigint
        from products
        where tenant_id = $1 and products.product_id = price_events.product_id
    ) as price_cents
from price_events
where tenant_id = $1 and price_event_id = any($2)
