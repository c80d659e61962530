select recorded_in::text as recorded_in, place, price_event_id
from price_events
where tenant_id = $1 and price_event_id = $2 and ($3::uuid is null or product_id = $3)
