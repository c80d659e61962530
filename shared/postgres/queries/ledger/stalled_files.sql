-- Work that has stood still: its message may be lost, and sending it once more does no harm. Two hours are longer than any
-- message stays hidden while it is worked on.
select file_id, session_id, dataset, state, upload_sessions.expires_at < now() as has_expired
from files
join upload_sessions using (session_id)
where
    files.tenant_id = $1 and finished_at is null and state in ('uploaded', 'loading', 'promoting')
    and greatest(
        uploaded_at, planned_at, staged_at,
        (select max(changed_at) from chunks where chunks.tenant_id = $1 and chunks.file_id = files.file_id)
    ) < now() - interval '2 hours'
order by session_id, dataset_rank, ordinal, file_id
