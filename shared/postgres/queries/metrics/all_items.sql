select order_id, product_id, quantity, line_total
from order_items
where tenant_id = $1
