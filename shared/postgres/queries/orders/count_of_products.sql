-- How many items of these products there are, but no more than $3.
select count(*) from (
    select from order_items where tenant_id = $1 and product_id = any($2) limit $3
) as items
