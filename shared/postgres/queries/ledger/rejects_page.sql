-- Lines are numbered within their chunk: the lines of the chunks before it come on top, once all of those are known.
with page as (
    select *, sum(length(record) + length(errors::text)) over (order by chunk_index, line) as bytes
    from (
        select chunk_index, line, byte_offset, key, errors, record
        from rejects
        where tenant_id = $1 and file_id = $2 and (chunk_index, line) > ($3, $4)
        order by chunk_index, line
        limit $5
    ) as following
),
first_lines as (
    select
        chunk_index,
        coalesce(sum(lines) over earlier, 0) as first_line,
        coalesce(bool_and(state in ('staged', 'promoted')) over earlier, true) as is_known
    from chunks
    where tenant_id = $1 and file_id = $2
    window earlier as (order by chunk_index rows between unbounded preceding and 1 preceding)
)
select
    page.chunk_index, page.line, page.byte_offset, page.key, page.errors::text as errors, page.record,
    case when first_lines.is_known then (first_lines.first_line + page.line + 1)::bigint end as absolute_line
from page
join first_lines using (chunk_index)
where page.bytes <= $6 or page.bytes = length(page.record) + length(page.errors::text)
order by page.chunk_index, page.line
