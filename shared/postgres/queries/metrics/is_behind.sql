-- On which days products were sold is found out when they are counted.
select exists (
    select from sales_touches
    where
        tenant_id = $1
        and (cardinality(products) > 0 or exists (select from unnest(days) as day where day >= $2 and day < $3))
)
