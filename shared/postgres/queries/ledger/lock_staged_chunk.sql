-- The file is held too: once it has ended, for whatever reason, nothing more of it is promoted.
select chunks.chunk_index
from chunks
join files using (file_id)
where
    chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.chunk_index = $3 and chunks.state = 'staged'
    and files.tenant_id = $1 and files.state = 'promoting'
for update of chunks
for share of files
