select {id} as id
from {keys}
where tenant_id = $1 and {id} = any($2)
