-- Takes an export in hand: from here on the books are written under another number.
update exports set
    state = 'running',
    attempt = attempt + 1,
    started_at = coalesce(started_at, now()),
    worked_at = now()
where tenant_id = $1 and export_id = $2 and state in ('pending', 'running')
returning attempt, object_attempt, upload_id, resume_key, resume_rows, resume_bytes, resume_sha256, resume_xmin
