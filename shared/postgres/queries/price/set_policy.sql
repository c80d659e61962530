update tenants
set price_policy = $2
where tenant_id = $1 and price_policy <> $2
