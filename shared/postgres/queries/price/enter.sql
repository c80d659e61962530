-- The planner knows little of tables that have just grown: without the setting it may read them whole.
select price_policy::text, set_config('enable_seqscan', 'off', true)
from tenants
where tenant_id = $1
