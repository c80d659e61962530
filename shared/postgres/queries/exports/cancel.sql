update exports set state = 'cancelled', finished_at = now()
where tenant_id = $1 and export_id = $2 and state in ('pending', 'running')
