-- The bounds prune partitions when the statement is planned, the join when it runs.
select stored.{id} as id, stored.created_at
from unnest($2::uuid[], $3::timestamptz[]) as asked (id, month)
join {table} as stored on stored.{month} = asked.month and stored.{id} = asked.id
where stored.tenant_id = $1 and stored.{month} between $4 and $5
