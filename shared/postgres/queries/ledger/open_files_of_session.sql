select file_id, dataset, state
from files
where tenant_id = $1 and session_id = $2 and finished_at is null
order by dataset_rank, ordinal, file_id
