update chunks
set state = 'staged', lines = $4, accepted = $5, rejected = $6, changed_at = now()
where tenant_id = $1 and file_id = $2 and chunk_index = $3 and state = 'planned'
