update erasures
set finished_at = now()
where tenant_id = $1 and finished_at is null
