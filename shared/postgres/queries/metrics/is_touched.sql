select exists (select from sales_touches where tenant_id = $1 and due_at <= now() - $2 * interval '1 second')
