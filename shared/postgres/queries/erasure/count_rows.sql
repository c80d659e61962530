select count(*)
from {table}
where tenant_id = $1
