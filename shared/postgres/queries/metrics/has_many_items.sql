select count(*) = $3 as has_many
from (select from order_items where tenant_id = $1 and product_id = any($2) limit $3) as items
