update tenants
set keep_order_months = $2, keep_stock_event_days = $3, keep_price_event_days = $4, keep_session_days = $5
where tenant_id = $1
