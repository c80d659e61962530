select 'rows' as measure, count(*)::text as total
from customers
where tenant_id = $1 and customer_id = any($2)
