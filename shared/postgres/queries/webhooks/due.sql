-- Calls that should have been made: their message may be lost. No message is held back longer than 15 minutes.
select webhook_id
from webhooks
where tenant_id = $1 and state = 'pending' and next_attempt_at < now() - interval '20 minutes'
order by next_attempt_at
