-- A removed event's id is known for good.
select stock_event_id
from stock_events
where tenant_id = $1 and stock_event_id = any($2)
union all
select stock_event_id
from stock_event_ids
where tenant_id = $1 and stock_event_id = any($2)
