update exports
set state = 'expired', finished_at = coalesce(finished_at, now())
where tenant_id = $1 and export_id = any($2)
