insert into idempotency_claims (tenant_id, name, fingerprint, claimed_at, expires_at)
values ($1, $2, $3, $4, $5)
on conflict (tenant_id, name) do update
set fingerprint = excluded.fingerprint,
    answer = null,
    claimed_at = excluded.claimed_at,
    expires_at = excluded.expires_at
where idempotency_claims.expires_at <= excluded.claimed_at
