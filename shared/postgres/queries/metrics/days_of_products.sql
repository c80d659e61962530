-- The days on which products were sold. Each order is looked up: of many that a tenant has just sent PostgreSQL may expect one.
select distinct (order_date at time zone 'utc')::date as day
from (select distinct order_id from order_items where tenant_id = $1 and product_id = any($2)) as sold
cross join lateral (
    select order_date
    from order_keys
    where tenant_id = $1 and order_keys.order_id = sold.order_id
    offset 0
) as keys
