insert into audit_log (audit_id, tenant_id, action, key_prefix) values ($1, $2, $3, $4)
