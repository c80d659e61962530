update chunks
set state = 'planned', error_code = null, error_detail = null, changed_at = now()
where
    tenant_id = $1 and file_id = $2 and state = 'failed' and error_code = any($3::text[])
    and ($4::integer[] is null or chunk_index = any($4))
    and exists (
        select from files
        where
            files.tenant_id = $1 and files.file_id = $2
            and (files.state = 'loading' or files.state = 'failed' and files.error_code = any($3))
    )
