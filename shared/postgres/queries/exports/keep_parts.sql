delete from export_parts where tenant_id = $1 and export_id = $2 and part_number > $3
