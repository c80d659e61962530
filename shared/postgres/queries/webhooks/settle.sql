-- The transaction began before the call was made, and the pause begins after it.
update webhooks
set
    attempts = $3,
    state = $4::text,
    next_attempt_at = clock_timestamp() + make_interval(secs => $5),
    finished_at = case when $4::text <> 'pending' then clock_timestamp() end
where tenant_id = $1 and webhook_id = $2 and state = 'pending'
