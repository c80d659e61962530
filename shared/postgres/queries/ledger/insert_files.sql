-- Files that are added to a session later come after those that it has.
insert into files (
    file_id, tenant_id, session_id, dataset_rank, ordinal, dataset, name, size_bytes, sha256, multipart_upload_id,
    layout, compression, max_rejects, max_rejects_basis_points, reject_missing_references
)
select
    file_id, $1, $2, dataset_rank,
    coalesce((select max(files.ordinal) from files where files.tenant_id = $1 and files.session_id = $2), 0) + place,
    dataset, name, size_bytes, sha256, multipart_upload_id,
    layout, compression, max_rejects, max_rejects_basis_points, reject_missing_references
from unnest(
    $3::uuid[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bytea[], $9::text[], $10::text[], $11::text[],
    $12::bigint[], $13::integer[], $14::boolean[]
) with ordinality as file (
    file_id, dataset_rank, dataset, name, size_bytes, sha256, multipart_upload_id, layout, compression,
    max_rejects, max_rejects_basis_points, reject_missing_references, place
)
