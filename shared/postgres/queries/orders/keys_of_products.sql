select order_keys.order_date, order_keys.order_id
from (select distinct order_id from order_items where tenant_id = $1 and product_id = any($2)) as items
join order_keys on order_keys.tenant_id = $1 and order_keys.order_id = items.order_id
where
    ($3::timestamptz is null or order_keys.order_date >= $3)
    and ($4::timestamptz is null or order_keys.order_date < $4)
