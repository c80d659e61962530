-- Of each product the first events, as far as all of them are old, at most $4 of them. The levels are locked. What they came
-- to is carried, and their ids are kept.
with ends as (
    select
        levels.product_id,
        levels.carried_events as first,
        least(
            levels.carried_events + $4,
            coalesce(
                (
                    select young.sequence - 1
                    from stock_events as young
                    where
                        young.tenant_id = $1
                        and young.product_id = levels.product_id
                        and young.sequence > levels.carried_events
                        and young.created_at >= $3
                    order by young.sequence
                    limit 1
                ),
                levels.sequence
            )
        ) as last
    from stock_levels as levels
    where levels.tenant_id = $1 and levels.product_id = any($2)
), gone as (
    delete from stock_events as old
    using ends
    where
        old.tenant_id = $1
        and old.product_id = ends.product_id
        and old.sequence > ends.first
        and old.sequence <= ends.last
    returning old.stock_event_id, old.product_id, old.change
), known as (
    insert into stock_event_ids (tenant_id, stock_event_id)
    select $1, stock_event_id
    from gone
), sums as (
    select product_id, sum(change)::bigint as change, count(*) as events
    from gone
    group by product_id
)
update stock_levels as stored
set carried = stored.carried + sums.change, carried_events = stored.carried_events + sums.events
from sums
where stored.tenant_id = $1 and stored.product_id = sums.product_id
returning sums.events
