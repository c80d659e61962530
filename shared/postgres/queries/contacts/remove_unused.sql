-- Those that no order has any more.
delete from order_contacts as stored
using unnest($2::bigint[]) as gone (contact)
where
    stored.tenant_id = $1
    and stored.contact = gone.contact
    and not exists (
        select from order_keys where order_keys.tenant_id = $1 and order_keys.contact = gone.contact
    )
