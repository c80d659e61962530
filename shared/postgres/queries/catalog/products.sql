select
    products.product_id, products.sku, products.name, products.price, products.category_id, products.active,
    products.created_at, coalesce(stock_levels.level, 0) as stock_level
from products
left join stock_levels on stock_levels.tenant_id = $1 and stock_levels.product_id = products.product_id
where
    products.tenant_id = $1
    and ($2::uuid is null or products.product_id > $2)
    and ($3::boolean is null or products.active = $3)
    and ($4::uuid is null or products.category_id = $4)
    and ($5::text is null or products.sku = $5)
order by products.product_id
limit $6
