select file_id, name::text
from files
where
    tenant_id = $1 and session_id = $2
    and exists (select from rejects where rejects.tenant_id = $1 and rejects.file_id = files.file_id)
order by dataset_rank, ordinal, file_id
