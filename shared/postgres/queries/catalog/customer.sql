select customer_id, name, email, metadata::text as metadata, created_at
from customers
where tenant_id = $1 and customer_id = $2
