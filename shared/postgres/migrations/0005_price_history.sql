create table price_history (
    tenant_id uuid not null,
    id uuid not null,
    product_id uuid not null,
    price numeric(12, 2) not null check (price >= 0),
    effective_from timestamptz not null,
    effective_to timestamptz,
    payload_hash bytea not null,
    primary key (tenant_id, id)
) partition by hash (tenant_id);

select make_tenant_table('price_history');
