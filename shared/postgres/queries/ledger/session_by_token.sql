select session_id, upload_token, dry_run, created_at, expires_at, expires_at < now() as has_expired
from upload_sessions
where tenant_id = $1 and upload_token = $2
