insert into api_keys (key_hash, tenant_id, key_prefix) values ($1, $2, $3)
