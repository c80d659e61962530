-- Whoever stages the last chunk finds no other left. A chunk that was given up holds the file back: nothing is promoted
-- around it.
update files
set
    state = case when has_failed then 'failed' else 'promoting' end,
    staged_at = case when has_failed then staged_at else now() end,
    finished_at = case when has_failed then now() end,
    error_code = case when has_failed then failed_code end,
    error_detail = case when has_failed then failed_detail end
from (
    select
        coalesce(bool_or(state = 'failed'), false) as has_failed,
        max(error_code) filter (where state = 'failed') as failed_code,
        max(error_detail) filter (where state = 'failed') as failed_detail,
        coalesce(sum(accepted), 0)::bigint as accepted,
        coalesce(sum(rejected), 0)::bigint as rejected
    from chunks
    where tenant_id = $1 and file_id = $2
) as counted
where
    tenant_id = $1 and file_id = $2 and state = 'loading'
    -- asked once and before anything is counted, so that a file of many chunks is counted once
    and not exists (select from chunks where tenant_id = $1 and file_id = $2 and state = 'planned')
returning
    has_failed, counted.accepted, counted.rejected, max_rejects, max_rejects_basis_points
