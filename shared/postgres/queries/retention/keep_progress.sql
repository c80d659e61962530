insert into archive.progress (leaf, tenant_id, order_date, order_id, is_done)
values ($2::text::name, $1, $3, $4, $5)
on conflict (leaf, tenant_id)
do update set order_date = excluded.order_date, order_id = excluded.order_id, is_done = excluded.is_done
