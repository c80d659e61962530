delete from upload_sessions
where tenant_id = $1 and session_id = any($2)
