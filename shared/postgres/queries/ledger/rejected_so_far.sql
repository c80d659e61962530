select
    coalesce(sum(accepted), 0)::bigint as accepted,
    coalesce(sum(rejected), 0)::bigint as rejected
from chunks
where tenant_id = $1 and file_id = $2
