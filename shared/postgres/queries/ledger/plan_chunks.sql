insert into chunks (file_id, chunk_index, tenant_id, start_byte, end_byte, piece_etag)
select $2, chunk_index, $1, start_byte, end_byte, piece_etag
from unnest($3::integer[], $4::bigint[], $5::bigint[], $6::text[]) as plan (chunk_index, start_byte, end_byte, piece_etag)
