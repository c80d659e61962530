delete from rejects as stored
using (
    select rejects.file_id, rejects.chunk_index, rejects.line
    from files
    join rejects on rejects.file_id = files.file_id
    where files.tenant_id = $1 and files.session_id = any($2)
    limit $3
) as old
where
    stored.tenant_id = $1
    and stored.file_id = old.file_id
    and stored.chunk_index = old.chunk_index
    and stored.line = old.line
