update chunks
set
    state = 'promoted', inserted = $4, updated = $5, unchanged = $6, rejected = rejected + $7, dangling = $8,
    changed_at = now()
where tenant_id = $1 and file_id = $2 and chunk_index = $3 and state = 'staged'
