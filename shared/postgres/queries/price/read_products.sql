select product_id, (price * 100)::bigint as price_cents
from products
where tenant_id = $1 and product_id = any($2)
