-- The first chunks that were given up, of each file of a session.
select file_id, chunk_index, error_code, error_detail
from (
    select
        chunks.file_id, chunk_index, chunks.error_code, chunks.error_detail,
        row_number() over (partition by chunks.file_id order by chunk_index) as place
    from chunks
    join files using (file_id)
    where chunks.tenant_id = $1 and files.tenant_id = $1 and session_id = $2 and chunks.state = 'failed'
) as failed
where place <= $3
order by file_id, chunk_index
