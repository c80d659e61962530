-- One that failed or was cancelled stays what it was: it never had a file that could expire.
update exports
set
    state = case when state in ('failed', 'cancelled') then state else 'expired' end,
    finished_at = coalesce(finished_at, now()),
    is_removed = true
where tenant_id = $1 and export_id = any($2)
