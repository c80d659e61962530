select
    chunks.start_byte, chunks.end_byte, chunks.state as chunk_state,
    files.file_id, files.session_id, files.dataset, files.name, files.size_bytes, files.sha256, files.state,
    files.multipart_upload_id, files.object_etag, files.uploaded_at, upload_sessions.dry_run
from chunks
join files using (file_id)
join upload_sessions using (session_id)
where chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.chunk_index = $3
