select start_byte, end_byte from chunks where tenant_id = $1 and file_id = $2 order by chunk_index
