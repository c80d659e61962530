-- Work that has stood still: its message may be lost, and sending it once more does no harm.
select file_id, session_id, state
from files
where
    tenant_id = $1 and finished_at is null and state in ('uploaded', 'loading', 'promoting')
    and greatest(
        uploaded_at, planned_at, staged_at,
        (select max(changed_at) from chunks where chunks.tenant_id = $1 and chunks.file_id = files.file_id)
    ) < now() - interval '30 minutes'
order by session_id, dataset_rank, ordinal
