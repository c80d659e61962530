select order_date, order_id, is_done
from archive.progress
where leaf = $2::text::name and tenant_id = $1
