-- Of these days, what no longer has an order.
delete from sales_days
where
    tenant_id = $1 and day between $2 and $3
    and (day, currency::text) not in (
        select counted.day, counted.currency from unnest($4::date[], $5::text[]) as counted (day, currency)
    )
