select order_id, order_date
from archive.{leaf}
where tenant_id = $1 and (order_date, order_id) > ($2, $3)
order by order_date, order_id
limit $4
