delete from audit_log
where ctid in (select ctid from audit_log where logged_at < $1 limit $2)
