-- An order that came again after it had been archived has a key of its own.
delete from order_keys as stored
using unnest($2::uuid[], $3::timestamptz[]) as gone (id, at)
where
    stored.tenant_id = $1
    and stored.order_id = gone.id
    and stored.order_date = gone.at
    and not exists (
        select from orders
        where
            orders.tenant_id = $1
            and orders.order_date = gone.at
            and orders.order_id = gone.id
            and orders.order_date between $4 and $5
    )
