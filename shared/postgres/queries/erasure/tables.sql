-- Every table that has a tenant in its rows, leaf by leaf, those of the ledger first that others are referred to by. What is
-- known of erasures stays.
with recursive holders as (
    select
        pg_class.oid,
        coalesce(pg_partition_root(pg_class.oid), pg_class.oid) as root,
        exists (
            select from pg_index
            where indrelid = pg_class.oid and indisvalid and indpred is null and indkey[0] = attnum
        ) as is_indexed
    from pg_class
    join pg_attribute on attrelid = pg_class.oid and attname = 'tenant_id' and not attisdropped
    where
        pg_class.relkind = 'r'
        and pg_class.relnamespace in ('public'::regnamespace, 'archive'::regnamespace)
        and pg_class.oid <> 'erasures'::regclass
), depths as (
    select distinct root, 0 as depth from holders
    union
    select conrelid::oid, depths.depth + 1
    from depths
    join pg_constraint on contype = 'f' and confrelid = depths.root and conrelid <> confrelid
    where depths.depth < 20
)
select
    holders.oid::regclass::text as name,
    holders.root::regclass::text as root,
    holders.is_indexed,
    (pg_relation_size(holders.oid) / current_setting('block_size')::bigint) as blocks
from holders
order by (select max(depth) from depths where depths.root = holders.root) desc, root, name
