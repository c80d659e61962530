insert into files (
    file_id, tenant_id, session_id, dataset_rank, ordinal, dataset, name, size_bytes, sha256, multipart_upload_id
)
select file_id, $1, $2, dataset_rank, ordinal, dataset, name, size_bytes, sha256, multipart_upload_id
from unnest($3::uuid[], $4::smallint[], $5::integer[], $6::text[], $7::text[], $8::bigint[], $9::bytea[], $10::text[])
    as file (file_id, dataset_rank, ordinal, dataset, name, size_bytes, sha256, multipart_upload_id)
