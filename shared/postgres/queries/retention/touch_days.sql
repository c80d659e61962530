-- Days whose sales are to be counted anew.
insert into sales_touches (tenant_id, days)
select $1, array_agg(distinct (gone.at at time zone 'utc')::date)
from unnest($2::timestamptz[]) as gone (at)
