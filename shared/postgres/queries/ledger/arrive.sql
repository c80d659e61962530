-- The object's version is the fence: whatever else arrives under the key is another object.
update files
set state = 'uploaded', object_etag = $3, uploaded_at = now()
where tenant_id = $1 and file_id = $2 and state = 'awaiting_upload'
