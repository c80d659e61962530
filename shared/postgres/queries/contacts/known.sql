select contact
from order_contacts
where tenant_id = $1 and contact = any($2)
