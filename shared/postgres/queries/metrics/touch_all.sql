-- Every day that has orders, or had some when it was counted.
insert into sales_touches (tenant_id, days)
select $1, days
from (
    select coalesce(array_agg(day), '{}') as days
    from (
        select (order_date at time zone 'utc')::date as day from orders where tenant_id = $1
        union
        select day from sales_days where tenant_id = $1
    ) as sold
) as all_days
returning cardinality(days)
