select tenant_id from api_keys where key_hash = $1
