-- The bounds prune partitions when the statement is planned, the join when it runs.
select orders.order_id
from unnest($2::uuid[], $3::timestamptz[]) as asked (id, month)
join orders on orders.order_date = asked.month and orders.order_id = asked.id
where orders.tenant_id = $1 and orders.order_date between $4 and $5
