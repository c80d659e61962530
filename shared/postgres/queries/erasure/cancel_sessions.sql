update upload_sessions
set cancelled_at = now()
where tenant_id = $1 and cancelled_at is null
