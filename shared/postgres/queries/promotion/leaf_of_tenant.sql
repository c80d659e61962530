select remainder
from generate_series(0, 7) as remainder
where satisfies_hash_partition('customers'::regclass, 8, remainder, $1::uuid)
