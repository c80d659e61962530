with taken as (
    delete from sales_touches
    where tenant_id = $1 and due_at <= now()
    returning days, products
)
select
    coalesce((select array_agg(distinct day) from taken, unnest(days) as day), '{}') as days,
    coalesce((select array_agg(distinct product) from taken, unnest(products) as product), '{}') as products
