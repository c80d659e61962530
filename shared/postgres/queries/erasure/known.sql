select
    to_char(asked_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as asked_at,
    asked_by::text,
    extract(epoch from now() - asked_at)::bigint as seconds_ago,
    to_char(finished_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as finished_at,
    removed::text
from erasures
where tenant_id = $1
