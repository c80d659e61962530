-- Into each of these partitions at least so many rows of the tenant were put.
select count(*) filter (where learn_of_tenant(leaf::regclass, has_rows)) as analyzed
from unnest($1::text[], $2::bigint[]) as grown (leaf, has_rows)
where to_regclass(leaf) is not null
