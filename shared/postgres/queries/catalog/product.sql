select
    products.product_id, products.sku, products.name, products.price, products.category_id, products.active,
    products.created_at, coalesce(stock_levels.level, 0) as stock_level
from products
left join stock_levels on stock_levels.tenant_id = $1 and stock_levels.product_id = products.product_id
where products.tenant_id = $1 and products.product_id = $2
