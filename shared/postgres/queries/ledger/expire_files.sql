update files
set
    state = 'expired', finished_at = now(), error_code = 'NEVER_ARRIVED',
    error_detail = 'the file was declared but did not arrive within seven days'
where
    tenant_id = $1 and state = 'awaiting_upload'
    and session_id in (select session_id from upload_sessions where tenant_id = $1 and expires_at < now())
returning session_id, file_id, multipart_upload_id
