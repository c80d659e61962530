-- Changes of a tenant's keys come one after another; what refers to the tenant goes on meanwhile.
select tenant_id from tenants where tenant_id = $1 for no key update
