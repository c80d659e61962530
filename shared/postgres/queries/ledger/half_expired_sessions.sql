-- Sessions of which a file never arrived and others are still open: whoever was to wake those may have died over it.
select distinct session_id
from files
where
    tenant_id = $1 and finished_at is null
    and exists (
        select from files as missing
        where missing.tenant_id = $1 and missing.session_id = files.session_id and missing.state = 'expired'
    )
