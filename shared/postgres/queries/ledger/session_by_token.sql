select
    session_id, upload_token, dry_run, callback_url, max_rejects, max_rejects_basis_points, reject_missing_references,
    created_at, expires_at, expires_at < now() as has_expired, cancelled_at is not null as is_cancelled
from upload_sessions
where tenant_id = $1 and upload_token = $2
