-- As end_cancelled, but what a slice in promotion holds is left to be ended later.
update files
set state = 'cancelled', finished_at = now()
where
    tenant_id = $1
    and file_id in (
        select file_id from files
        join upload_sessions using (session_id)
        where
            files.tenant_id = $1 and files.session_id = $2 and finished_at is null
            and upload_sessions.tenant_id = $1 and cancelled_at is not null
        for update of files skip locked
    )
