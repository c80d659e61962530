-- Roles. The owner runs migrations and may be neither superuser nor BYPASSRLS, as on Aurora. The API reads and writes through
-- the parents, under row-level security. The loader may insert into leaf partitions besides, because COPY is
-- refused on a table whose row security applies to the role.
do $$
begin
    if not exists (select from pg_roles where rolname = 'intake_api') then
        create role intake_api login;
    end if;
    if not exists (select from pg_roles where rolname = 'intake_loader') then
        create role intake_loader login;
    end if;
end
$$;

grant usage on schema public to intake_api, intake_loader;

-- A function that is frozen or killed inside a transaction must not hold its locks until the network notices.
alter role intake_api set idle_in_transaction_session_timeout = '30s';
alter role intake_api set lock_timeout = '10s';
alter role intake_loader set idle_in_transaction_session_timeout = '2min';
alter role intake_loader set lock_timeout = '10min';

-- Gives a table the one policy that every tenant table has. An empty setting is what a connection keeps after a
-- transaction that had one, so it must read as no tenant.
create function isolate_tenants(tenant_table regclass) returns void
language plpgsql as $$
begin
    execute format('alter table %s enable row level security', tenant_table);
    execute format('alter table %s force row level security', tenant_table);
    execute format(
        'create policy tenant_isolation on %s
            using (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), '''')::uuid))
            with check (tenant_id = (select nullif(current_setting(''app.tenant_id'', true), '''')::uuid))',
        tenant_table
    );
end
$$;
revoke execute on function isolate_tenants from public;

create table tenants (
    tenant_id uuid primary key,
    name varchar(255) not null,
    created_at timestamptz not null default now()
);
select isolate_tenants('tenants');

create table api_keys (
    key_hash bytea primary key check (length(key_hash) = 32),
    tenant_id uuid not null references tenants,
    key_prefix varchar(12) not null,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    revoked_at timestamptz
);
create index api_keys_tenant on api_keys (tenant_id);
select isolate_tenants('api_keys');

-- The operator's command sees all tenants; it connects as the owner.
create policy operator on tenants to current_user using (true) with check (true);
create policy operator on api_keys to current_user using (true) with check (true);

-- A temporary table must not stand in for a real one in a function that runs as the owner.
do $$
begin
    execute format('revoke temporary on database %I from public', current_database());
end
$$;

-- Who holds a key is asked before any tenant is known, so it is asked of the owner; nothing else is revealed. The last
-- use is noted at most once a minute, to keep authentication free of writes.
create function authenticate(hash bytea) returns uuid
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    with used as (
        update public.api_keys set last_used_at = now()
        where key_hash = hash and revoked_at is null
            and (last_used_at is null or last_used_at < now() - interval '1 minute')
    )
    select tenant_id from public.api_keys where key_hash = hash and revoked_at is null
$$;
revoke execute on function authenticate from public;
grant execute on function authenticate to intake_api;
