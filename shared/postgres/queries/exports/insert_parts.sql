insert into export_parts (export_id, part_number, tenant_id, size_bytes, etag)
select $2, part_number, $1, size_bytes, etag
from unnest($3::integer[], $4::bigint[], $5::text[]) as part (part_number, size_bytes, etag)
on conflict (export_id, part_number) do update set size_bytes = excluded.size_bytes, etag = excluded.etag
