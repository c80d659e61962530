select
    chunks.start_byte, chunks.end_byte, chunks.piece_etag, chunks.state as chunk_state,
    files.file_id, files.session_id, files.dataset, files.name, files.size_bytes, files.sha256, files.layout,
    files.compression, files.csv_header, files.has_ranged_pieces, files.state, files.multipart_upload_id, files.object_etag, files.uploaded_at,
    files.max_rejects, files.max_rejects_basis_points, files.reject_missing_references, files.error_code,
    upload_sessions.dry_run, upload_sessions.trace_id, upload_sessions.cancelled_at is not null as is_cancelled
from chunks
join files using (file_id)
join upload_sessions using (session_id)
where chunks.tenant_id = $1 and chunks.file_id = $2 and chunks.chunk_index = $3
