insert into stock_conflicts (tenant_id, file_id, product_id)
select $1, $2, product_id
from unnest($3::uuid[]) as refused (product_id)
on conflict do nothing
