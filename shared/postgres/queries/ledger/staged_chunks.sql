select chunk_index
from chunks
where tenant_id = $1 and file_id = $2 and state = 'staged'
order by chunk_index
