delete from idempotency_claims where tenant_id = $1 and name = $2
