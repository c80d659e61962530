-- For how long things are kept, what becomes of orders whose time is over, and the erasure of tenants.

-- A tenant's own wishes. Null: the deployment's; 0: for ever.
alter table tenants
    add column keep_order_months integer check (keep_order_months between 0 and 1200),
    add column keep_stock_event_days integer check (keep_stock_event_days between 0 and 36500),
    add column keep_price_event_days integer check (keep_price_event_days between 0 and 36500),
    add column keep_session_days integer check (keep_session_days between 0 and 36500);

-- What is old is found block by block: rows of these tables are written in the order of time, and a range of blocks has
-- one entry, so that writing costs nothing that could be measured.
create index price_events_age on price_events using brin (received_at);

-- What the removed events of a product came to: a level is `carried` and the changes of the events that are there, its
-- `sequence` is `carried_events` and their number.
alter table stock_levels
    add column carried bigint not null default 0,
    add column carried_events bigint not null default 0,
    add check (carried_events between 0 and sequence);

-- The ids of removed events: one that comes again is known, and moves nothing.
create table stock_event_ids (
    tenant_id uuid not null,
    stock_event_id uuid not null,
    primary key (tenant_id, stock_event_id)
) partition by hash (tenant_id);
select make_tenant_table('stock_event_ids');
revoke delete on stock_event_ids from intake_loader;

-- Months of orders whose time is over for every tenant. They are taken out of `orders` as they are and stay here for a
-- while, for whoever wants a copy. Nobody but the owner may look into this schema.
create schema archive;
revoke all on schema archive from public;

create table archive.months (
    leaf name primary key,
    first_day date not null,
    archived_at timestamptz not null default now(),
    -- when nothing was left outside that belongs to its orders
    cleaned_at timestamptz
);

-- How far keys and items of a month's orders are removed, tenant by tenant.
create table archive.progress (
    leaf name not null references archive.months on delete cascade,
    tenant_id uuid not null,
    order_date timestamptz not null,
    order_id uuid not null,
    is_done boolean not null default false,
    primary key (leaf, tenant_id)
);
select isolate_tenants('archive.progress');
create policy operator on archive.progress to current_user using (true) with check (true);

-- Takes the partition of a month out of `orders`, and returns its name in the archive. `orders` is locked for a moment, and
-- what works on it is waited for as long as lock_timeout says: `detach concurrently` is not to be had beside a default
-- partition. Whoever has looked up the name of the partition finds nothing under it, and looks again.
create function archive_order_month(first_day date) returns name
language plpgsql as $$
declare
    leaf name := 'orders_' || to_char(first_day, '"y"YYYY"m"MM');
    archived name := leaf || '_' || to_char(clock_timestamp() at time zone 'utc', 'YYYYMMDDHH24MISSUS');
begin
    execute format('alter table orders detach partition %I', leaf);
    execute format('revoke all on %I from intake_api, intake_loader', leaf);
    execute format('alter table %I rename to %I', leaf, archived);
    execute format('alter table %I set schema archive', archived);
    perform isolate_tenants(format('archive.%I', archived)::regclass);
    execute format('create policy operator on archive.%I to current_user using (true) with check (true)', archived);
    insert into archive.months (leaf, first_day) values (archived, first_day);
    return archived;
end
$$;
revoke execute on function archive_order_month from public;

-- Tenants that were erased, or are about to be, and what is known of it: nothing else is left of them.
create table erasures (
    tenant_id uuid primary key,
    asked_at timestamptz not null default now(),
    asked_by varchar(100) not null,
    finished_at timestamptz,
    -- how much was removed, by table, prefix and store
    removed jsonb not null default '{}'
);
select isolate_tenants('erasures');
create policy operator on erasures to current_user using (true) with check (true);
create index erasures_finished on erasures (finished_at);
