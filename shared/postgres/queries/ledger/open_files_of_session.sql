select file_id, state
from files
where tenant_id = $1 and session_id = $2 and finished_at is null
order by dataset_rank, ordinal
