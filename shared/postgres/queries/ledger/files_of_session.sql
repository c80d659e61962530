select
    files.file_id, files.name, files.dataset, files.layout, files.compression, files.state, files.size_bytes,
    files.sha256, files.error_code, files.error_detail, files.multipart_upload_id, files.max_rejects,
    files.max_rejects_basis_points, files.reject_missing_references, files.created_at, files.uploaded_at, files.planned_at, files.staged_at,
    files.finished_at, now() as seen_at, counts.*
from files
cross join lateral (
    select
        count(*) as chunks,
        count(*) filter (where state in ('staged', 'promoted')) as chunks_staged,
        count(*) filter (where state = 'promoted') as chunks_promoted,
        count(*) filter (where state = 'failed') as chunks_failed,
        coalesce(sum(accepted), 0)::bigint as accepted,
        coalesce(sum(inserted), 0)::bigint as inserted,
        coalesce(sum(updated), 0)::bigint as updated,
        coalesce(sum(unchanged), 0)::bigint as unchanged,
        coalesce(sum(rejected), 0)::bigint as rejected,
        coalesce(sum(accepted - rejected) filter (where state = 'staged'), 0)::bigint as not_promoted,
        coalesce(sum(dangling), 0)::bigint as dangling,
        coalesce(sum(end_byte - start_byte), 0)::bigint as bytes_planned,
        coalesce(sum(end_byte - start_byte) filter (where state in ('staged', 'promoted')), 0)::bigint as bytes_staged,
        max(changed_at) as changed_at
    from chunks
    where chunks.tenant_id = $1 and chunks.file_id = files.file_id
) as counts
where files.tenant_id = $1 and files.session_id = $2
order by files.dataset_rank, files.ordinal, files.file_id
