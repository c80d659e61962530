update files
set state = 'loading', planned_at = now(), csv_header = $3, has_ranged_pieces = true
where tenant_id = $1 and file_id = $2 and state = 'uploaded'
