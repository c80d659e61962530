insert into audit_log
    (audit_id, tenant_id, action, code, key_prefix, source_ip, method, path, request_id, occurrences)
values ($1, $2, 'access_refused', $3, $4, $5, left($6, 20), left($7, 500), left($8, 100), $9)
