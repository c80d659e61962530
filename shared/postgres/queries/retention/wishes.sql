select keep_order_months, keep_stock_event_days, keep_price_event_days, keep_session_days
from tenants
where tenant_id = $1
