select count(*)::integer from chunks where tenant_id = $1 and file_id = $2
