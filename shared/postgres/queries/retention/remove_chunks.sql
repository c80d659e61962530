delete from chunks
using files
where chunks.tenant_id = $1 and chunks.file_id = files.file_id and files.tenant_id = $1 and files.session_id = any($2)
