select webhook_secret from tenants where tenant_id = $1
