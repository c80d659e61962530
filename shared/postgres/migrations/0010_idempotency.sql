-- Requests that had their effect here, each with its answer, which commits with the effect: whoever repeats one after
-- its function died finds both or neither.

create table idempotency_claims (
    tenant_id uuid not null references tenants,
    name bytea not null check (length(name) = 32), -- stands for method, path and key
    fingerprint bytea not null check (length(fingerprint) = 32),
    answer bytea, -- null within the transaction that claims
    claimed_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (tenant_id, name)
);
create index idempotency_claims_expiry on idempotency_claims (expires_at);
select isolate_tenants('idempotency_claims');
grant select, insert, update, delete on idempotency_claims to intake_api;

-- `maintain` removes what has expired, of all tenants at once and as the owner.
create policy operator on idempotency_claims to current_user using (true) with check (true);
