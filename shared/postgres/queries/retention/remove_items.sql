-- Those of orders that have no key any more.
delete from order_items as stored
using unnest($2::uuid[]) as gone (id)
where
    stored.tenant_id = $1
    and stored.order_id = gone.id
    and not exists (select from order_keys where order_keys.tenant_id = $1 and order_keys.order_id = gone.id)
