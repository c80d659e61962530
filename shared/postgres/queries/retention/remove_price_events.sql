-- Those that wait for a decision stay until they have it.
delete from price_events as stored
using (
    select price_event_id
    from price_events
    where tenant_id = $1 and received_at < $2 and not (outcome = 'held' and decision is null)
    limit $3
) as old
where stored.tenant_id = $1 and stored.price_event_id = old.price_event_id
