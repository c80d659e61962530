select product_id, level, set_at, sequence
from stock_levels
where tenant_id = $1 and product_id = any($2)
