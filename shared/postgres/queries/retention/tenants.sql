select tenant_id, keep_order_months, keep_stock_event_days, keep_price_event_days, keep_session_days
from tenants
order by tenant_id
