select distinct (order_date at time zone 'utc')::date as day
from order_keys
where tenant_id = $1 and order_id = any($2)
