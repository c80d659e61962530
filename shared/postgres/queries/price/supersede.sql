update price_events
set decision = 'superseded', decided_at = now()
where tenant_id = $1 and price_event_id = any($2) and outcome = 'held' and decision is null
