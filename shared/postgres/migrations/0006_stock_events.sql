create table stock_events (
    tenant_id uuid not null,
    stock_event_id uuid not null,
    product_id uuid not null,
    delta integer not null,
    resulting_level integer,
    event_time timestamptz,
    source varchar(20),
    meta jsonb,
    created_at timestamptz not null,
    payload_hash bytea not null,
    primary key (tenant_id, stock_event_id)
) partition by hash (tenant_id);

select make_tenant_table('stock_events');
