-- Every day that has orders, or had some when it was counted. Days are found one after the other, each by the first order
-- after the last one: for each day a look into the index of each later month, whatever the number of orders.
with recursive sold (first) as (
    (select order_date from orders where tenant_id = $1 order by order_date limit 1)
    union all
    select (
        select order_date
        from orders
        where tenant_id = $1 and order_date >= ((first at time zone 'utc')::date + 1)::timestamp at time zone 'utc'
        order by order_date
        limit 1
    )
    from sold
    where first is not null
)
insert into sales_touches (tenant_id, days)
select $1, days
from (
    select coalesce(array_agg(day), '{}') as days
    from (
        select (first at time zone 'utc')::date as day from sold where first is not null
        union
        select day from sales_days where tenant_id = $1
    ) as all_days
) as touched
returning cardinality(days)
