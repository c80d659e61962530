-- Whatever still promotes a slice holds its file, so this waits for it; nothing begins after it.
update files
set state = 'cancelled', finished_at = now()
where
    tenant_id = $1 and session_id = $2 and finished_at is null
    and exists (
        select from upload_sessions
        where upload_sessions.tenant_id = $1 and session_id = $2 and cancelled_at is not null
    )
