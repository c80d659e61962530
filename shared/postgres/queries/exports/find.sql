-- One export, or a page of them before an id, newest first.
select
    export_id, dataset, format, compression, columns, filters, spreadsheet_safe, state, trace_id, created_at, started_at,
    finished_at, expires_at, expires_at <= now() as has_expired, rows_estimated, rows_done, bytes_done, object_attempt,
    upload_id, manifest::text as manifest, error_code, error_detail
from exports
where tenant_id = $1 and ($2::uuid is null or export_id = $2) and ($3::uuid is null or export_id < $3)
order by export_id desc
limit $4
