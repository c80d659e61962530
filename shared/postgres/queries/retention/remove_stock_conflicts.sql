delete from stock_conflicts
using files
where
    stock_conflicts.tenant_id = $1
    and stock_conflicts.file_id = files.file_id
    and files.tenant_id = $1
    and files.session_id = any($2)
