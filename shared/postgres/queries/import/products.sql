with found as (
    select price, active from products where tenant_id = $1 and product_id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'price', sum(price)::text from found
union all
select 'active', count(*) filter (where active)::text from found
