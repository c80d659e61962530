-- A price ends where the next one begins, from the one before the first that was added. One that an upload ended earlier
-- keeps its end. Where a product's prices begin is looked up once for each: `offset 0` keeps it from being looked up for each
-- price. The tenant is not told when the statement is planned: of one that came after the statistics were made PostgreSQL expects a
-- single row, and would go through all of its prices for each of them.
update price_history
set effective_to = chain.next
from (
    select prices.id, lead(effective_from) over (partition by touched.product_id order by effective_from, prices.id) as next
    from unnest($2::uuid[], $3::timestamptz[]) as touched (product_id, first)
    cross join lateral (
        select coalesce(
            (
                select effective_from
                from price_history
                where
                    tenant_id = (select $1::uuid)
                    and price_history.product_id = touched.product_id
                    and effective_from < touched.first
                order by effective_from desc
                limit 1
            ),
            touched.first
        ) as since
        offset 0
    ) as beginning
    cross join lateral (
        select id, effective_from
        from price_history
        where
            tenant_id = (select $1::uuid)
            and price_history.product_id = touched.product_id
            and effective_from >= beginning.since
    ) as prices
) as chain
where
    price_history.tenant_id = (select $1::uuid)
    and price_history.id = chain.id
    and chain.next is not null
    and (price_history.effective_to is null or price_history.effective_to > chain.next)
