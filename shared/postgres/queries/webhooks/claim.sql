-- Held until the transaction ends, so that of two workers with the same message one calls. It was superseded when its
-- session has been resumed: the session ends again, and says so again.
select
    session_id, upload_token, trace_id, url, attempts, ended_at,
    greatest(extract(epoch from next_attempt_at - now()), 0)::float8 as due_in,
    (
        select bool_and(finished_at is not null) and max(finished_at) = ended_at from files
        where files.tenant_id = $1 and files.session_id = webhooks.session_id
    ) as is_latest
from webhooks
join upload_sessions using (session_id)
where webhooks.tenant_id = $1 and upload_sessions.tenant_id = $1 and webhook_id = $2 and state = 'pending'
for update of webhooks skip locked
