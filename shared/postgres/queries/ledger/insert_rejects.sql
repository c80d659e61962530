insert into rejects (file_id, chunk_index, line, tenant_id, byte_offset, key, errors, record)
select $2, $3, line, $1, byte_offset, key, errors::json, record
from unnest($4::integer[], $5::bigint[], $6::text[], $7::text[], $8::text[])
    as reject (line, byte_offset, key, errors, record)
