-- Of these days, what no longer has an order.
delete from sales_days
where
    tenant_id = $1 and day between $2 and $3
    and not exists (
        select from unnest($4::date[], $5::text[]) as counted (day, currency)
        where counted.day = sales_days.day and counted.currency = sales_days.currency
    )
