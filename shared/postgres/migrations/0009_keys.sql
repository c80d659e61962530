-- Two live keys a tenant, keys that are found without giving their hashes away to a stopwatch, and the log of who was
-- refused and what became of keys.

-- Until now nothing told imported keys apart.
update api_keys set key_prefix = 'sha:' || left(encode(key_hash, 'hex'), 8) where key_prefix = 'imported';

-- A tenant has two slots for live keys: one for its key, one for that which is to replace it. The index is what holds,
-- whoever writes and at whatever isolation level; the trigger finds the free slot, one writer after another. What was
-- beyond two before there was such a limit has no slot, and lives until it is revoked.
alter table api_keys add column slot smallint check (slot in (1, 2));
update api_keys set slot = ranked.slot
from (
    select key_hash, row_number() over (partition by tenant_id order by created_at desc, key_hash) as slot
    from api_keys
    where revoked_at is null
) as ranked
where ranked.key_hash = api_keys.key_hash and ranked.slot <= 2;
create unique index two_live_keys on api_keys (tenant_id, slot) where revoked_at is null;

create function take_key_slot() returns trigger
language plpgsql as $$
begin
    perform from tenants where tenant_id = new.tenant_id for no key update;
    if (
        select count(*) from api_keys
        where tenant_id = new.tenant_id and revoked_at is null and key_hash <> new.key_hash
    ) >= 2 then
        raise unique_violation using message = 'the tenant has two live keys', constraint = 'two_live_keys';
    end if;
    new.slot := (
        select min(free) from generate_series(1, 2) as free
        where not exists (
            select from api_keys
            where tenant_id = new.tenant_id and slot = free and revoked_at is null and key_hash <> new.key_hash
        )
    );
    return new;
end
$$;
revoke execute on function take_key_slot from public;
create trigger take_key_slot before insert or update of revoked_at on api_keys
for each row when (new.revoked_at is null) execute function take_key_slot();

-- Which stored hashes may be that of a key is asked by the first bytes of its hash, and the whole of it is compared by
-- the one who asks, in a time that does not depend on it: an index would stop at the first byte that differs. It is
-- asked before any tenant is known, and so of the owner.
create index api_keys_lookup on api_keys (substring(key_hash from 1 for 8));
create function find_keys(lookup bytea)
returns table (key_hash bytea, tenant_id uuid, is_revoked boolean, is_noted boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select
        known.key_hash,
        known.tenant_id,
        known.revoked_at is not null,
        coalesce(known.last_used_at > now() - interval '1 minute', false)
    from public.api_keys as known
    where substring(known.key_hash from 1 for 8) = lookup
$$;
revoke execute on function find_keys from public;
grant execute on function find_keys to intake_api;

-- The last use is noted at most once a minute, which keeps authentication free of writes. The functions of the release
-- before still call authenticate(), which does both; it goes when none of them runs any more.
create function note_key_use(hash bytea) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    update public.api_keys set last_used_at = now()
    where key_hash = hash and revoked_at is null
        and (last_used_at is null or last_used_at <= now() - interval '1 minute')
$$;
revoke execute on function note_key_use from public;
grant execute on function note_key_use to intake_api;

create table audit_log (
    audit_id uuid primary key,
    tenant_id uuid references tenants, -- null: nobody knows who it was
    logged_at timestamptz not null default now(),
    action varchar(20) not null,
    code varchar(20), -- why access was refused
    key_prefix varchar(12),
    source_ip inet,
    method varchar(20),
    path varchar(500),
    request_id varchar(100),
    occurrences integer not null default 1 check (occurrences >= 1),
    check ((action = 'access_refused') = (code is not null))
);
create index audit_log_time on audit_log (logged_at);
select isolate_tenants('audit_log');
create policy operator on audit_log to current_user using (true) with check (true);
grant insert on audit_log to intake_api;

-- An entry of a caller that is no known tenant's belongs to none, so that the policy lets nobody write or see it. This
-- writes such entries, and can write no others.
create function log_unknown_caller(
    audit_id uuid,
    code text,
    key_prefix text,
    source_ip inet,
    method text,
    path text,
    request_id text,
    occurrences integer
) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    insert into public.audit_log
        (audit_id, action, code, key_prefix, source_ip, method, path, request_id, occurrences)
    values ($1, 'access_refused', $2, $3, $4, left($5, 20), left($6, 500), left($7, 100), $8)
$$;
revoke execute on function log_unknown_caller from public;
grant execute on function log_unknown_caller to intake_api;
