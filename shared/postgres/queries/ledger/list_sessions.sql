-- A page of sessions, newest first, each with the set of its files' states: a bit for each state in the order of $4,
-- then one for expired and one for cancelled. What such a set makes of a session is decided elsewhere: $5 names the sets
-- that are asked for, null all.
with page as (
    select
        session_id, upload_token, dry_run, upload_sessions.created_at, expires_at, cancelled_at, of_files.*
    from upload_sessions
    cross join lateral (
        select
            count(*) as files,
            coalesce(sum(size_bytes), 0)::bigint as size_bytes,
            coalesce(bit_or(1 << (array_position($4::text[], state::text) - 1)), 0)
                + case when upload_sessions.expires_at < now() then 1 << cardinality($4) else 0 end
                + case when upload_sessions.cancelled_at is not null then 2 << cardinality($4) else 0 end as states,
            max(greatest(created_at, uploaded_at, planned_at, staged_at, finished_at)) as file_changed_at
        from files
        where files.tenant_id = $1 and files.session_id = upload_sessions.session_id
    ) as of_files
    where tenant_id = $1 and session_id < $2 and ($5::integer[] is null or states = any($5))
    order by session_id desc
    limit $3
)
select
    page.session_id, upload_token, dry_run, page.created_at, expires_at, files, page.size_bytes, states, of_chunks.*,
    greatest(page.created_at, cancelled_at, file_changed_at, chunk_changed_at) as last_activity
from page
cross join lateral (
    select
        count(*) as chunks,
        count(*) filter (where chunks.state = 'promoted') as chunks_promoted,
        count(*) filter (where chunks.state = 'failed') as chunks_failed,
        coalesce(sum(accepted), 0)::bigint as accepted,
        coalesce(sum(inserted), 0)::bigint as inserted,
        coalesce(sum(updated), 0)::bigint as updated,
        coalesce(sum(unchanged), 0)::bigint as unchanged,
        coalesce(sum(rejected), 0)::bigint as rejected,
        coalesce(sum(accepted - rejected) filter (where chunks.state = 'staged' and finished_at is null), 0)::bigint
            as staged,
        coalesce(sum(accepted - rejected) filter (where chunks.state = 'staged' and finished_at is not null), 0)::bigint
            as discarded,
        coalesce(sum(dangling), 0)::bigint as dangling,
        max(changed_at) as chunk_changed_at
    from files
    join chunks using (file_id)
    where files.tenant_id = $1 and chunks.tenant_id = $1 and files.session_id = page.session_id
) as of_chunks
order by page.session_id desc
