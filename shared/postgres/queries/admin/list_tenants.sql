select tenant_id, name::text, to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
from tenants
order by tenants.created_at, tenant_id
