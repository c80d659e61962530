insert into audit_log (audit_id, tenant_id, action) values ($1, $2, 'price_policy_' || $3::text)
