-- Erasures have a table of their own, with the last one of each tenant: what is left of a tenant must not be in a table that it
-- is removed from.
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
    asked_by::text,
    occurrences
from (
    select
        tenant_id, logged_at, audit_id, action, code, key_prefix, source_ip, method, path, request_id,
        null as asked_by, occurrences
    from audit_log
    union all
    select tenant_id, logged_at, null, action, null, null, null, null, null, null, asked_by, 1
    from erasures, lateral (values (asked_at, 'erasure_asked'), (finished_at, 'erased')) as steps (logged_at, action)
) as entries
where logged_at >= now() - make_interval(secs => $2) and ($1::uuid is null or tenant_id = $1)
order by entries.logged_at, audit_id
