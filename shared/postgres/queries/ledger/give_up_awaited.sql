update files
set state = 'failed', error_code = $3, error_detail = $4, finished_at = now()
where tenant_id = $1 and file_id = $2 and state = 'awaiting_upload'
