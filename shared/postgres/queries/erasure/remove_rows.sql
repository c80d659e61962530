delete from {table}
where ctid = any (array(select ctid from {table} where tenant_id = $1 limit $2))
