select
    tenants.tenant_id,
    tenants.name::text,
    to_char(tenants.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
    count(api_keys.key_hash) filter (where api_keys.revoked_at is null)
from tenants
left join api_keys using (tenant_id)
group by tenants.tenant_id
order by tenants.created_at, tenants.tenant_id
