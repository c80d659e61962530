insert into tenants (tenant_id, name) values ($1, $2)
on conflict (tenant_id) do nothing
