select distinct day from sales_days where tenant_id = $1
