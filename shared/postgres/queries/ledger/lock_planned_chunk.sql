-- The file is held too: whoever ends it waits, so that no count grows once it has ended.
select chunks.chunk_index
from chunks
join files using (file_id)
where
    chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.chunk_index = $3 and chunks.state = 'planned'
    and files.tenant_id = $1 and files.state = 'loading'
for update of chunks
for share of files
