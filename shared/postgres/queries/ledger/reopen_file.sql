-- A file goes on where it stopped, unless all that is left of it is chunks that stay given up.
update files
set
    state = case
        when uploaded_at is null then 'awaiting_upload'
        when planned_at is null then 'uploaded'
        when planned > 0 then 'loading'
        else 'promoting'
    end,
    staged_at = case when planned > 0 then null else staged_at end,
    finished_at = null, error_code = null, error_detail = null
from (
    select
        count(*) filter (where state = 'planned') as planned,
        count(*) filter (where state = 'failed') as failed
    from chunks
    where tenant_id = $1 and file_id = $2
) as counted
where
    tenant_id = $1 and file_id = $2 and state = 'failed' and error_code = any($3::text[])
    and (planned > 0 or failed = 0)
