-- Holds a file until the transaction ends: whoever wants to end it waits, and once it has ended nothing of it is promoted.
select files.file_id
from files
join upload_sessions using (session_id)
where
    files.tenant_id = $1 and files.file_id = $2 and files.state = 'promoting' and upload_sessions.cancelled_at is null
for share of files
