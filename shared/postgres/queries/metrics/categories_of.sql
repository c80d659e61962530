select product_id, category_id
from products
where tenant_id = $1 and product_id = any($2) and category_id is not null
