select chunks.start_byte, chunks.end_byte, chunks.piece_etag
from chunks
join files using (file_id)
where
    chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.chunk_index = $3 and chunks.state = 'staged'
    and files.tenant_id = $1 and files.state = 'promoting'
for update of chunks
