-- What becomes of a month from the moment in which it is archived until nothing is left outside that belongs to it.

-- As before, but a month that is not clean of its archived orders gets no partition: the keys of these are still there, and
-- promotion doubts a key only where its month has none. Rows that come meanwhile wait in the default partition.
create or replace function ensure_order_months(first_month date, last_month date) returns integer
language plpgsql as $$
declare
    month date := date_trunc('month', first_month);
    leaf text;
    made integer := 0;
begin
    -- no promotion may add a row to the default partition between the move and the attachment, and no month may be archived
    lock table orders_default in share row exclusive mode;
    while month <= last_month loop
        leaf := 'orders_' || to_char(month, '"y"YYYY"m"MM');
        if
            to_regclass(leaf) is null
            and not exists (
                select from archive.months as archived where archived.first_day = month and archived.cleaned_at is null
            )
        then
            execute format('create table %I (like orders including defaults including constraints)', leaf);
            execute format(
                'with moved as (
                    delete from orders_default where order_date >= %L and order_date < %L returning *
                ) insert into %I select * from moved',
                month::timestamp at time zone 'utc', (month + interval '1 month')::timestamp at time zone 'utc', leaf
            );
            execute format(
                'alter table orders attach partition %I for values from (%L) to (%L)',
                leaf, month::timestamp at time zone 'utc', (month + interval '1 month')::timestamp at time zone 'utc'
            );
            execute format('grant insert on %I to intake_loader', leaf);
            made := made + 1;
        end if;
        month := month + interval '1 month';
    end loop;
    return made;
end
$$;

-- Notes that the sales of a month are to be counted anew: of each tenant the days that were counted or are about to be. Returns
-- the tenants that have any. One that is being erased gets no row that could be left of it.
create function touch_order_month(first_day date) returns setof uuid
language plpgsql as $$
declare
    tenant uuid;
    last_day date := first_day + interval '1 month' - interval '1 day';
begin
    for tenant in
        select tenant_id
        from tenants
        where not exists (
            select from erasures where erasures.tenant_id = tenants.tenant_id and erasures.finished_at is null
        )
    loop
        -- the owner, too, must say whose rows it means
        perform set_config('app.tenant_id', tenant::text, true);
        insert into sales_touches (tenant_id, days)
        select tenant, array_agg(told.day)
        from (
            select day from sales_days where tenant_id = tenant and day between first_day and last_day
            union
            select touched.day
            from sales_touches, unnest(days) as touched (day)
            where tenant_id = tenant and touched.day between first_day and last_day
        ) as told
        having count(*) > 0;
        if found then
            return next tenant;
        end if;
    end loop;
end
$$;
revoke execute on function touch_order_month from public;

-- Whoever cleans up after a tenant that is being erased leaves no row that names it: the erasure does not end before it has
-- gone, too.
delete from archive.progress
where not exists (select from tenants where tenants.tenant_id = progress.tenant_id);
alter table archive.progress add foreign key (tenant_id) references tenants;
