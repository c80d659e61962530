-- What has ended cannot be cancelled: a session with files when none of them is open, one without when it has expired.
update upload_sessions
set cancelled_at = coalesce(cancelled_at, now())
where
    tenant_id = $1 and session_id = $2
    and (
        cancelled_at is not null
        or exists (select from files where files.tenant_id = $1 and files.session_id = $2 and finished_at is null)
        or (
            expires_at >= now()
            and not exists (select from files where files.tenant_id = $1 and files.session_id = $2)
        )
    )
