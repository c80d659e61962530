-- The products from one id up to another. $3 is null where there is no upper one.
select product_id, sku, name, price, category_id, active, created_at, products.xmin as row_xmin
from products
where tenant_id = $1
    and product_id >= $2
    and ($3::uuid is null or product_id < $3)
    and (cardinality($4::uuid[]) = 0 or product_id = any ($4))
    and ($5::bigint is null or price >= $5::bigint::numeric / 100)
    and ($6::bigint is null or price <= $6::bigint::numeric / 100)
    and ($7::timestamptz is null or created_at >= $7)
    and ($8::timestamptz is null or created_at < $8)
