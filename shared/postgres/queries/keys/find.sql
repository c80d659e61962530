select key_hash, tenant_id, is_revoked, is_noted from find_keys($1)
