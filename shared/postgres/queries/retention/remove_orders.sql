-- The bounds prune partitions when the statement is planned, the join when it runs.
delete from orders as stored
using unnest($2::uuid[], $3::timestamptz[]) as gone (id, at)
where
    stored.tenant_id = $1
    and stored.order_date = gone.at
    and stored.order_id = gone.id
    and stored.order_date between $4 and $5
