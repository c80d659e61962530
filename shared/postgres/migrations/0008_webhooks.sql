-- Calls that tell a shop that its session has ended, and the log of every attempt.

alter table tenants add column webhook_secret bytea check (length(webhook_secret) between 24 and 64);

create table webhooks (
    webhook_id uuid primary key,
    tenant_id uuid not null references tenants,
    session_id uuid not null references upload_sessions,
    -- which end: a session that is resumed ends again, and says so again
    ended_at timestamptz not null,
    url varchar(2048) not null,
    state varchar(10) not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    unique (session_id, ended_at)
);
create index webhooks_due on webhooks (tenant_id, next_attempt_at) where state = 'pending';
select isolate_tenants('webhooks');

create table webhook_attempts (
    webhook_id uuid not null references webhooks,
    attempt integer not null,
    tenant_id uuid not null,
    attempted_at timestamptz not null default now(),
    elapsed_ms integer not null,
    status smallint, -- null when there was no answer
    error varchar(500),
    primary key (webhook_id, attempt)
);
select isolate_tenants('webhook_attempts');

grant select on webhooks, webhook_attempts to intake_api, intake_loader;
grant insert, update on webhooks to intake_api, intake_loader;
grant insert on webhook_attempts to intake_loader;
grant select (tenant_id, webhook_secret) on tenants to intake_loader;
grant update (webhook_secret) on tenants to intake_loader;
