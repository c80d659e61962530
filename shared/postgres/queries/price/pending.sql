select product_id, price_event_id, event_time
from price_events
where tenant_id = $1 and product_id = any($2) and outcome = 'held' and decision is null
