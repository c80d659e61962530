-- Three months ahead, and the months that enough rows wait for in the default partition to be worth one: every partition
-- costs all tenants a little.
select sum(made)::integer
from (
    select ensure_order_months(now()::date, (now() + interval '3 months')::date) as made
    union all
    select ensure_order_months(late.month, late.month)
    from (
        select date_trunc('month', order_date at time zone 'utc')::date as month
        from orders_default
        where order_date >= '1970-01-01' and order_date < now() + interval '1 year'
        group by 1
        having count(*) >= 10000
    ) as late
) as months
