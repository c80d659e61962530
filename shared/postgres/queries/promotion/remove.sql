delete from {table}
where tenant_id = $1 and {id} = any($2)
returning {id} as id, {created_at} as created_at, {belongs_to} as belongs_to
