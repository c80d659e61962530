update price_events
set decision = $3, decided_at = now()
where tenant_id = $1 and price_event_id = $2 and outcome = 'held' and decision is null
