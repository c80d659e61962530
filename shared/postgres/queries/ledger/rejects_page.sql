-- Lines are numbered within their chunk: the lines of the chunks before it come on top.
with first_lines as (
    select
        chunk_index, file_id,
        coalesce(sum(lines) over (
            partition by file_id order by chunk_index rows between unbounded preceding and 1 preceding
        ), 0) as first_line
    from chunks
    where tenant_id = $1 and file_id in (select file_id from files where tenant_id = $1 and session_id = $2)
)
select
    files.name, files.dataset_rank, files.ordinal, rejects.chunk_index, rejects.line,
    (first_lines.first_line + rejects.line + 1)::bigint as absolute_line,
    rejects.byte_offset, rejects.key, rejects.errors::text as errors, rejects.record
from files
join rejects using (file_id)
join first_lines using (file_id, chunk_index)
where
    files.tenant_id = $1 and files.session_id = $2 and rejects.tenant_id = $1
    and (files.dataset_rank, files.ordinal, rejects.chunk_index, rejects.line) > ($3, $4, $5, $6)
order by files.dataset_rank, files.ordinal, rejects.chunk_index, rejects.line
limit $7
