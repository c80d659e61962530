-- the events that set levels, and where their products stand now
with found as (
    select product_id from stock_events where tenant_id = $1 and stock_event_id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'level', sum(level)::text from stock_levels where tenant_id = $1 and product_id in (select product_id from found)
