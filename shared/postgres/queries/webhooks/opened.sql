-- The call for the latest end of a session, while nobody has tried it.
select webhook_id
from webhooks
where
    tenant_id = $1 and session_id = $2 and state = 'pending' and attempts = 0
    and ended_at = (
        select max(finished_at) from files
        where tenant_id = $1 and session_id = $2
        having bool_and(finished_at is not null)
    )
