-- A row that has the same code several times counts once.
select
    width_bucket(files.finished_at, $4::timestamptz[]) as bucket,
    codes.code,
    count(*) as rows
from files
join upload_sessions on upload_sessions.tenant_id = $1 and upload_sessions.session_id = files.session_id
join rejects on rejects.tenant_id = $1 and rejects.file_id = files.file_id
cross join lateral (
    select distinct error ->> 'code' as code
    from json_array_elements(rejects.errors) as error
) as codes
where files.tenant_id = $1 and files.finished_at >= $2 and files.finished_at < $3 and not upload_sessions.dry_run
group by 1, 2
