insert into api_keys (key_hash, tenant_id, key_prefix) values ($1, $2, $3)
on conflict (key_hash) do update set key_prefix = api_keys.key_prefix where api_keys.tenant_id = excluded.tenant_id
returning key_hash
