delete from webhook_attempts
using webhooks
where
    webhook_attempts.tenant_id = $1
    and webhook_attempts.webhook_id = webhooks.webhook_id
    and webhooks.tenant_id = $1
    and webhooks.session_id = any($2)
