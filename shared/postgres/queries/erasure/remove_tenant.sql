delete from tenants
where tenant_id = $1
