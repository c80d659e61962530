delete from {keys}
where tenant_id = $1 and {id} = any($2)
returning contact
