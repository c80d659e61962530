select {id} as id, {month} as month
from {keys}
where tenant_id = $1 and {id} = any($2)
