select count(*) as files from files where tenant_id = $1 and session_id = $2
