-- The chunks that may be under way at a time: of each remainder the first that waits.
select min(chunk_index) as chunk_index
from chunks
where tenant_id = $1 and file_id = $2 and state = 'planned'
group by chunk_index % $3
order by 1
