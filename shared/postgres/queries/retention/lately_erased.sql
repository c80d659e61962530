-- Addresses that were handed out before may be used for an hour, and work that was under way for a quarter of one.
select tenant_id
from erasures
where finished_at >= now() - interval '3 hours'
order by tenant_id
