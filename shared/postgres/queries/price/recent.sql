-- The prices that took effect, newest first: those that an upload announced for later are none yet. An event may be five
-- minutes ahead, and clocks differ.
select
    product_id,
    cents,
    flagged,
    since,
    (select event_time from price_events where tenant_id = $1 and price_event_id = newest) as newest_at
from unnest($2::uuid[]) as wanted (product_id)
cross join lateral (
    select
        array_agg(price_cents order by effective_from desc, id desc) as cents,
        array_agg(flagged order by effective_from desc, id desc) as flagged,
        array_agg(effective_from order by effective_from desc, id desc) as since,
        (array_agg(id order by effective_from desc, id desc))[1] as newest
    from (
        select id, (price * 100)::bigint as price_cents, flagged, effective_from
        from price_history
        where
            tenant_id = $1
            and price_history.product_id = wanted.product_id
            and effective_from <= now() + interval '10 minutes'
        order by effective_from desc, id desc
        limit $3
    ) as prices
) as recent
where newest is not null
