select export_id
from exports
where tenant_id = $1 and expires_at <= now() and not is_removed
order by export_id
limit $2
