update files
set state = 'loading', planned_at = now()
where tenant_id = $1 and file_id = $2 and state = 'uploaded'
