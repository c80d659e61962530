select product_id
from stock_conflicts
where tenant_id = $1 and file_id = $2
