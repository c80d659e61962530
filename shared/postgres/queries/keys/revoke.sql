update api_keys set revoked_at = now() where tenant_id = $1 and key_hash = $2 and revoked_at is null
