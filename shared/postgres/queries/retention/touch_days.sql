insert into sales_touches (tenant_id, days)
select $1, array_agg(distinct (at at time zone 'utc')::date)
from unnest($2::timestamptz[]) as gone (at)
having count(*) > 0
