-- An upload of price_history may have used the id of an event.
select id
from price_history
where tenant_id = $1 and id = any($2)
