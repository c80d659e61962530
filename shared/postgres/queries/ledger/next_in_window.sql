select chunk_index
from chunks
where tenant_id = $1 and file_id = $2 and state = 'planned' and chunk_index > $3 and chunk_index % $4 = $3 % $4
order by chunk_index
limit 1
