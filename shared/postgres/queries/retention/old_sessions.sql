select session_id
from upload_sessions as old
where
    tenant_id = $1
    and expires_at < $2
    and not exists (
        select from files where files.tenant_id = $1 and files.session_id = old.session_id and files.finished_at is null
    )
    and not exists (
        select from webhooks
        where webhooks.tenant_id = $1 and webhooks.session_id = old.session_id and webhooks.state = 'pending'
    )
order by expires_at, session_id
limit $3
