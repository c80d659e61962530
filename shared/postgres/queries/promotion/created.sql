select {id} as id, created_at
from {table}
where tenant_id = $1 and {id} = any($2)
