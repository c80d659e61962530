select product_id
from price_events
where tenant_id = $1 and price_event_id = $2 and outcome = 'held'
