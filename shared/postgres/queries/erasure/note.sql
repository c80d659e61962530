update erasures
set removed = $2::text::jsonb
where tenant_id = $1
