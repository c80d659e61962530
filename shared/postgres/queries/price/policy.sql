select price_policy::text
from tenants
where tenant_id = $1
