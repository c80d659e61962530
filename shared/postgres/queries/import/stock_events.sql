with found as (
    select delta from stock_events where tenant_id = $1 and stock_event_id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'delta', sum(delta)::text from found
