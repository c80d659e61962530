with found as (
    select price from price_history where tenant_id = $1 and id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'price', sum(price)::text from found
