-- Price events, what was thought of each, and what a tenant wants done about those that look wrong.

alter table tenants add column price_policy varchar(10) not null default 'warn'
    check (price_policy in ('warn', 'hold', 'reject'));
grant select (tenant_id, price_policy) on tenants to intake_api, intake_loader;
grant update (price_policy) on tenants to intake_api;

-- A price that looked wrong and went in all the same, which nobody has approved since: nothing is learnt from it.
alter table price_history add column flagged boolean not null default false;
create index price_history_newest on price_history (tenant_id, product_id, effective_from desc, id desc)
    include (price, flagged);
grant insert on price_history to intake_api, intake_loader;
grant update (effective_to, flagged) on price_history to intake_api, intake_loader;

-- What came of an event stands in `outcome`:
--   applied        it is, or was, the product's price
--   held           the price stays until somebody decides
--   rejected       it was refused, by the policy
--   stale_ignored  the product has, or waits for, a price of a later time
-- and of one that was held, in `decision`. Both prices are the sender's.
create table price_events (
    tenant_id uuid not null,
    price_event_id uuid not null,
    product_id uuid not null,
    old_price numeric(12, 2) not null check (old_price >= 0),
    new_price numeric(12, 2) not null check (new_price >= 0),
    source varchar(50),
    metadata jsonb,
    event_time timestamptz not null,
    received_at timestamptz not null,
    outcome varchar(20) not null check (outcome in ('applied', 'held', 'rejected', 'stale_ignored')),
    -- at most 99,999,999,999,800.00: from 0.01 to the highest price
    pct_change numeric(17, 2),
    anomaly_detected boolean not null,
    anomaly_reason varchar(100),
    suspect boolean not null,
    reasons jsonb not null,
    decision varchar(20) check (decision in ('approved', 'rejected', 'superseded')),
    decided_at timestamptz,
    -- The order in which events are told: by the transaction that recorded them, and their place in it. Times would not do:
    -- a transaction that ends later may have begun before, and whoever reads on from a time would never see it.
    recorded_in xid8 not null default pg_current_xact_id(),
    place integer not null,
    primary key (tenant_id, price_event_id),
    check (anomaly_detected = (anomaly_reason is not null)),
    check (decision is null or outcome = 'held'),
    check ((decision is null) = (decided_at is null))
) partition by hash (tenant_id);

select make_tenant_table('price_events');
grant insert on price_events to intake_api, intake_loader;
grant update (decision, decided_at) on price_events to intake_api, intake_loader;

create index price_events_of_product on price_events (tenant_id, product_id, received_at);
create index price_anomalies on price_events (tenant_id, recorded_in, place, price_event_id) where anomaly_detected;
create index price_anomalies_of_product on price_events (tenant_id, product_id, recorded_in, place, price_event_id)
    where anomaly_detected;
-- a product waits for one decision at a time: a newer event takes the place of the older one's hold
create unique index price_holds on price_events (tenant_id, product_id)
    where outcome = 'held' and decision is null;
create index price_holds_newest on price_events (tenant_id, received_at, price_event_id) where outcome = 'held';

-- Whoever changes a price changes the row that was sent, so that sending it once more is news.
grant update (price, payload_hash) on products to intake_api, intake_loader;

-- Who follows a tenant's prices: five at most, since each keeps a function running. A place is held for some seconds, and held
-- on to by whoever still reads.
create table price_followers (
    tenant_id uuid not null references tenants,
    place smallint not null,
    follower uuid not null,
    held_until timestamptz not null,
    primary key (tenant_id, place)
);
select isolate_tenants('price_followers');
grant select, insert, update on price_followers to intake_api;
