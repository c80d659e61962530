update exports set
    state = 'completed',
    finished_at = now(),
    worked_at = now(),
    rows_estimated = $4,
    rows_done = greatest(rows_done, $4),
    bytes_done = greatest(bytes_done, $5),
    manifest = $6
where tenant_id = $1 and export_id = $2 and attempt = $3 and state = 'running'
