select
    tenant_id,
    to_char(logged_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as logged_at,
    action::text,
    code::text,
    key_prefix::text,
    source_ip,
    method::text,
    path::text,
    request_id::text,
    occurrences
from audit_log
where audit_log.logged_at >= now() - make_interval(secs => $2) and ($1::uuid is null or tenant_id = $1)
order by audit_log.logged_at, audit_id
