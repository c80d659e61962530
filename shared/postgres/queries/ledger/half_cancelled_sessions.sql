-- Sessions whose end somebody asked for, of which files are still open: whoever was to end them died over it.
select distinct session_id
from files
join upload_sessions using (session_id)
where files.tenant_id = $1 and files.finished_at is null and upload_sessions.cancelled_at < now() - interval '1 minute'
