-- How far the work has come. What is shown never goes back.
update exports set
    worked_at = now(),
    rows_estimated = greatest($4, rows_done, $5),
    rows_done = greatest(rows_done, $5),
    bytes_done = greatest(bytes_done, $6),
    upload_id = coalesce($7, upload_id),
    resume_key = coalesce($8, resume_key),
    resume_rows = coalesce($9, resume_rows),
    resume_bytes = coalesce($10, resume_bytes),
    resume_sha256 = coalesce($11, resume_sha256),
    resume_xmin = coalesce($12, resume_xmin)
where tenant_id = $1 and export_id = $2 and attempt = $3 and state = 'running'
