select stock_event_id
from stock_events
where tenant_id = $1 and stock_event_id = any($2)
