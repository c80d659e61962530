-- Whoever is about to give it up is waited for.
select error_code is not distinct from $3 as is_given_up
from files
where tenant_id = $1 and file_id = $2
for share
