-- An object is begun, and nothing of it is there yet.
with forgotten as (delete from export_parts where tenant_id = $1 and export_id = $2)
update exports set
    object_attempt = attempt,
    upload_id = null,
    resume_key = null,
    resume_rows = null,
    resume_bytes = null,
    resume_sha256 = null,
    resume_xmin = null
where tenant_id = $1 and export_id = $2 and attempt = $3 and state = 'running'
