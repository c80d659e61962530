-- A product that is known and never moved stands at 0.
select
    coalesce(stored.level, 0) as level, stored.set_at, coalesce(stored.sequence, 0) as sequence, stored.updated_at
from (select * from stock_levels where tenant_id = $1 and product_id = $2) as stored
full join (select product_id from products where tenant_id = $1 and product_id = $2) as known using (product_id)
