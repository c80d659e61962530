update files
set
    finished_at = now(),
    state = case
        when (select coalesce(sum(rejected), 0) from chunks where tenant_id = $1 and file_id = $2) > 0
            then 'completed_with_errors'
        else 'completed'
    end
where
    tenant_id = $1 and file_id = $2 and state = 'promoting'
    and not exists (
        select from chunks
        where chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.state <> 'promoted'
    )
