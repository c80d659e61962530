select exists (select from products where tenant_id = $1 and product_id = $2)
