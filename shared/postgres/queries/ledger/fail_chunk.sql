update chunks
set state = 'failed', error_code = $4, error_detail = $5, changed_at = now()
where tenant_id = $1 and file_id = $2 and chunk_index = $3 and state = 'planned'
