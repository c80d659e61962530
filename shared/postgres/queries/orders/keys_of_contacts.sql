select order_date, order_id
from order_keys
where
    tenant_id = $1
    and contact = any($2)
    and ($3::timestamptz is null or order_date >= $3)
    and ($4::timestamptz is null or order_date < $4)
limit $5
