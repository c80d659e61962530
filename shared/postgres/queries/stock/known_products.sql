select product_id
from products
where tenant_id = $1 and product_id = any($2)
