-- The bounds prune partitions when the statement is planned, the join when it runs.
delete from {table} as stored
using unnest($2::uuid[], $3::timestamptz[]) as gone (id, month)
where
    stored.tenant_id = $1
    and stored.{month} = gone.month
    and stored.{id} = gone.id
    and stored.{month} between $4 and $5
returning stored.{id} as id, stored.created_at, null::uuid as belongs_to
