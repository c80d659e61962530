update order_keys set contact = given.contact
from unnest($2::uuid[], $3::bigint[]) as given (order_id, contact)
where order_keys.tenant_id = $1 and order_keys.order_id = given.order_id
