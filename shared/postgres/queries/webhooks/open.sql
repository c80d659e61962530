-- A session whose files have all ended calls back once for each end: of two that see the same end, one makes the row.
insert into webhooks (webhook_id, tenant_id, session_id, ended_at, url)
select $3, $1, session_id, max(finished_at), callback_url
from upload_sessions
join files using (session_id)
where upload_sessions.tenant_id = $1 and files.tenant_id = $1 and session_id = $2 and callback_url is not null
group by session_id, callback_url
having bool_and(finished_at is not null)
on conflict (session_id, ended_at) do nothing
