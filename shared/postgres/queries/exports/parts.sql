select part_number, size_bytes, etag from export_parts
where tenant_id = $1 and export_id = $2
order by part_number
