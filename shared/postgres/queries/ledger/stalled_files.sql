-- Work that has stood still: its message may be lost, and sending it once more does no harm. Two hours are longer than any
-- message stays hidden while it is worked on. Of a session that has expired a file is over when none of its files has got on
-- for as long, unless it waits for another one: when that has ended, it has its turn.
select
    file_id, session_id, dataset, state,
    upload_sessions.expires_at < now()
    and not (
        state = 'promoting'
        and exists (
            select from files as before
            where
                before.tenant_id = $1 and before.session_id = files.session_id and before.finished_at is null
                and (before.dataset_rank, before.ordinal, before.file_id)
                < (files.dataset_rank, files.ordinal, files.file_id)
        )
    )
    and (
        select max(greatest(
            beside.uploaded_at, beside.planned_at, beside.staged_at, beside.finished_at,
            (select max(changed_at) from chunks where chunks.tenant_id = $1 and chunks.file_id = beside.file_id)
        ))
        from files as beside
        where beside.tenant_id = $1 and beside.session_id = files.session_id
    ) < now() - interval '2 hours' as is_over
from files
join upload_sessions using (session_id)
where
    files.tenant_id = $1 and finished_at is null and state in ('uploaded', 'loading', 'promoting')
    and greatest(
        uploaded_at, planned_at, staged_at,
        (select max(changed_at) from chunks where chunks.tenant_id = $1 and chunks.file_id = files.file_id)
    ) < now() - interval '2 hours'
order by session_id, dataset_rank, ordinal, file_id
