update tenants set webhook_secret = $2 where tenant_id = $1 and webhook_secret is null
