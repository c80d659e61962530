select {id} as id, {natural_key} as natural_key, payload_hash, {month} as month
from {keys}
where tenant_id = $1 and {natural_key} = any($2)
