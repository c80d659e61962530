select
    width_bucket(files.finished_at, $4::timestamptz[]) as bucket,
    grouping(width_bucket(files.finished_at, $4::timestamptz[])) = 1 as is_total,
    count(*) as files,
    count(*) filter (where files.state in ('failed', 'expired', 'cancelled')) as files_not_completed,
    coalesce(sum(files.size_bytes), 0)::bigint as bytes,
    coalesce(extract(epoch from sum(files.finished_at - files.uploaded_at)), 0)::float8 as seconds,
    coalesce(sum(of_file.accepted), 0)::bigint as accepted,
    coalesce(sum(of_file.inserted), 0)::bigint as inserted,
    coalesce(sum(of_file.updated), 0)::bigint as updated,
    coalesce(sum(of_file.unchanged), 0)::bigint as unchanged,
    coalesce(sum(of_file.rejected), 0)::bigint as rejected
from files
join upload_sessions on upload_sessions.tenant_id = $1 and upload_sessions.session_id = files.session_id
cross join lateral (
    select
        sum(accepted) as accepted, sum(inserted) as inserted, sum(updated) as updated, sum(unchanged) as unchanged,
        sum(rejected) as rejected
    from chunks
    where chunks.tenant_id = $1 and chunks.file_id = files.file_id
) as of_file
where files.tenant_id = $1 and files.finished_at >= $2 and files.finished_at < $3 and not upload_sessions.dry_run
group by grouping sets ((1), ())
