delete from idempotency_claims
where ctid = any (array(
    select ctid from idempotency_claims
    where expires_at <= now()
    order by expires_at
    limit $1
    for update skip locked
))
