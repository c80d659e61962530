with found as (
    select quantity, line_total from order_items where tenant_id = $1 and order_item_id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'quantity', sum(quantity)::text from found
union all
select 'line_total', sum(line_total)::text from found
