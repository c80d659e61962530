update chunks
set rejected = rejected + $4, changed_at = now()
where tenant_id = $1 and file_id = $2 and chunk_index = $3 and state = 'staged'
