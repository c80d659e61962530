-- Three months ahead, and the months since 1970 that rows wait for in the default partition.
select sum(made)::integer
from (
    select ensure_order_months(now()::date, (now() + interval '3 months')::date) as made
    union all
    select ensure_order_months(late.month, late.month)
    from (
        select distinct date_trunc('month', order_date at time zone 'utc')::date as month
        from orders_default
        where order_date >= '1970-01-01' and order_date < now() + interval '10 years'
    ) as late
) as months
