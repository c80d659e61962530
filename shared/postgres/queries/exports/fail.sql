-- Ends an export without a file, whoever works on it. Nothing of one that has ended.
update exports set state = 'failed', finished_at = now(), error_code = $3, error_detail = $4
where tenant_id = $1 and export_id = $2 and state in ('pending', 'running')
