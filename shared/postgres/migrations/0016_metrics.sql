-- What was sold, counted ahead: a row for each day of UTC and currency. The quarters of an hour, products and categories of a
-- day are one text of bytes each, which intake_domain::sales writes and reads: a year by product is 365 rows and not
-- two million, and counting a day anew writes one.
create table sales_days (
    tenant_id uuid not null,
    day date not null,
    currency varchar(3) not null,
    sum_sales numeric(30, 2) not null check (sum_sales >= 0),
    num_orders bigint not null check (num_orders > 0),
    -- who ordered, as a sketch of intake_domain::sketch; at most 1.3 kB, so that it stays in the row
    customers bytea not null,
    quarters bytea not null,
    products bytea not null,
    categories bytea not null,
    refreshed_at timestamptz not null default now(),
    primary key (tenant_id, day, currency)
);
select isolate_tenants('sales_days');
-- hashes and random ids do not get smaller
alter table sales_days
    alter column customers set storage external,
    alter column quarters set storage external,
    alter column products set storage external,
    alter column categories set storage external;
grant select on sales_days to intake_api;
grant select, insert, update, delete on sales_days to intake_loader;

-- Days whose sales have changed since they were counted. A promotion notes them in its own transaction, as a row of its own, so
-- that no two wait for each other; whoever counts them anew takes the row away in the transaction that does.
create table sales_touches (
    tenant_id uuid not null,
    -- when it is to be taken: at once, unless the days are to be counted once more
    due_at timestamptz not null default now(),
    days date[] not null default '{}',
    -- products whose category is another: the days are those on which they were sold
    products uuid[] not null default '{}'
);
create index sales_touches_due on sales_touches (tenant_id, due_at);
select isolate_tenants('sales_touches');
grant select on sales_touches to intake_api;
grant select, insert, delete on sales_touches to intake_loader;

-- uploads over time
create index files_ended on files (tenant_id, finished_at) where finished_at is not null;
