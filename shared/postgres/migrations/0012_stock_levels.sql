-- Where the stock of each product stands, and what moved it there. A level and the events that it comes from change in one
-- transaction, under the lock of the level's row.

create table stock_levels (
    tenant_id uuid not null,
    product_id uuid not null,
    level integer not null check (level >= 0),
    -- when the latest `set` that applied happened
    set_at timestamptz,
    -- how many events are recorded; the last of them has this number
    sequence bigint not null check (sequence > 0),
    updated_at timestamptz not null,
    primary key (tenant_id, product_id)
) partition by hash (tenant_id);
select make_tenant_table('stock_levels');
grant insert, update on stock_levels to intake_api, intake_loader;
revoke delete on stock_levels, stock_events from intake_loader;

-- what is low, lowest first
create index stock_levels_low on stock_levels (tenant_id, level, product_id);

alter table stock_events
    alter column delta drop not null,
    -- an id that was seen before counts as the same event, whatever else the row says
    alter column payload_hash drop not null,
    add column set integer check (set >= 0),
    add column expected integer,
    add column outcome varchar(13) check (outcome in ('applied', 'clamped', 'unchanged', 'stale_ignored')),
    -- what the event truly added; the levels of a product are the sums of it
    add column change integer,
    -- 1 for a product's first event; null for what was stored before there were levels
    add column sequence bigint,
    add check (num_nonnulls(delta, set) = 1),
    add check (num_nonnulls(outcome, change, sequence) in (0, 3));
create unique index stock_events_of_product on stock_events (tenant_id, product_id, sequence);
grant insert on stock_events to intake_api, intake_loader;

-- Products that had a conflict in a file: nothing of them applies further down in it.
create table stock_conflicts (
    tenant_id uuid not null,
    file_id uuid not null references files,
    product_id uuid not null,
    primary key (file_id, product_id)
);
select isolate_tenants('stock_conflicts');
grant select, insert on stock_conflicts to intake_loader;
