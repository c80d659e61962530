select count(*) as waiting
from chunks
where
    tenant_id = $1 and file_id = $2 and state = 'planned'
    and ($3::integer[] is null or chunk_index = any($3))
