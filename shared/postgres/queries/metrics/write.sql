-- A day that is as it was is not written.
insert into sales_days as stored
    (tenant_id, day, currency, sum_sales, num_orders, customers, quarters, products, categories)
select $1, day, currency, sum_sales::numeric, num_orders, customers, quarters, products, categories
from unnest($2::date[], $3::text[], $4::text[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bytea[])
    as counted (day, currency, sum_sales, num_orders, customers, quarters, products, categories)
on conflict (tenant_id, day, currency) do update set
    sum_sales = excluded.sum_sales,
    num_orders = excluded.num_orders,
    customers = excluded.customers,
    quarters = excluded.quarters,
    products = excluded.products,
    categories = excluded.categories,
    refreshed_at = now()
where
    (stored.sum_sales, stored.num_orders, stored.customers, stored.quarters, stored.products, stored.categories)
    is distinct from
    (excluded.sum_sales, excluded.num_orders, excluded.customers, excluded.quarters, excluded.products, excluded.categories)
