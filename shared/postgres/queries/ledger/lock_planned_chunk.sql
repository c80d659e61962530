select chunk_index
from chunks
where tenant_id = $1 and file_id = $2 and chunk_index = $3 and state = 'planned'
for update
