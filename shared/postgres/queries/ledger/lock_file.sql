-- Held, so that of two who let a file go on the second finds it going on.
select state from files where tenant_id = $1 and file_id = $2 for update
