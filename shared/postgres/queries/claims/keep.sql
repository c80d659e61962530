update idempotency_claims set answer = $3 where tenant_id = $1 and name = $2
