select
    files.file_id, files.session_id, files.dataset, files.name, files.size_bytes, files.sha256, files.state,
    files.multipart_upload_id, files.object_etag, files.uploaded_at, upload_sessions.dry_run
from files
join upload_sessions using (session_id)
where files.tenant_id = $1 and files.file_id = $2
