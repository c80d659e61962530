select exists (select from order_keys where tenant_id = $1 and contact is null)
