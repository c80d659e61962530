-- Without a hash, so that the row that was uploaded is news when it is sent once more, and sets its price again.
update products
set price = cents::numeric / 100, payload_hash = ''
from unnest($2::uuid[], $3::bigint[]) as changed (product_id, cents)
where products.tenant_id = $1 and products.product_id = changed.product_id
