-- Of a table that a tenant can only be looked for in from end to end.
delete from {table}
where tenant_id = $1 and ctid >= format('(%s,0)', $2::bigint)::tid and ctid < format('(%s,0)', $3::bigint)::tid
