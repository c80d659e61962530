update files
set multipart_upload_id = $4
where tenant_id = $1 and file_id = $2 and multipart_upload_id = $3 and state = 'awaiting_upload'
