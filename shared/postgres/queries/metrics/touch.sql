insert into sales_touches (tenant_id, due_at, days, products)
values ($1, now() + $2 * interval '1 second', $3, $4)
