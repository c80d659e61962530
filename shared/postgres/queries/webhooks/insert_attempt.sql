insert into webhook_attempts (webhook_id, attempt, tenant_id, elapsed_ms, status, error)
values ($2, $3, $1, $4, $5, $6)
on conflict (webhook_id, attempt) do nothing
