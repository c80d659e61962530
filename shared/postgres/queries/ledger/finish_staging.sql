-- Whoever stages the last chunk finds no other left.
update files
set state = 'promoting', staged_at = now()
where
    tenant_id = $1 and file_id = $2 and state = 'loading'
    and not exists (
        select from chunks
        where chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.state = 'planned'
    )
