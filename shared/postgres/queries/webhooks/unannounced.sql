-- Sessions that ended and were to say so, but whoever ended them died over it.
select session_id
from upload_sessions
where
    tenant_id = $1 and callback_url is not null and expires_at > now() - interval '1 day'
    and exists (select from files where files.tenant_id = $1 and files.session_id = upload_sessions.session_id)
    and not exists (
        select from files
        where files.tenant_id = $1 and files.session_id = upload_sessions.session_id and finished_at is null
    )
    and not exists (
        select from webhooks
        where
            webhooks.tenant_id = $1 and webhooks.session_id = upload_sessions.session_id
            and webhooks.ended_at = (
                select max(finished_at) from files
                where files.tenant_id = $1 and files.session_id = upload_sessions.session_id
            )
    )
