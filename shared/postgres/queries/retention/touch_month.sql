select touch_order_month(to_date($1, 'YYYY-MM-DD'))
