-- the keys tell in which month an order lies
with found as (
    select orders.currency, orders.total_amount
    from order_keys as keys
    join orders using (tenant_id, order_date, order_id)
    where keys.tenant_id = $1 and keys.order_id = any($2)
)
select 'rows' as measure, count(*)::text as total from found
union all
select 'total_amount ' || currency, sum(total_amount)::text from found group by currency
