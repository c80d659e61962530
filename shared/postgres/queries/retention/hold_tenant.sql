-- No row where there is no such tenant; where there is, its erasure waits for this transaction with its own row.
select tenant_id
from tenants
where tenant_id = $1
for key share
