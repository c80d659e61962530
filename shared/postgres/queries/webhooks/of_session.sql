-- The call for the latest end of a session, a row for each attempt, one without where there was none.
select
    webhook_id, url, state, case when state = 'pending' then next_attempt_at end as next_attempt_at,
    attempt, attempted_at, status, error, elapsed_ms
from (
    select * from webhooks
    where tenant_id = $1 and session_id = $2
    order by ended_at desc
    limit 1
) as latest
left join webhook_attempts using (tenant_id, webhook_id)
order by attempt
