-- The production tables. Columns stand in the order of the dataset's fields, because rows arrive as binary COPY.
-- Leaf partitions carry no policy of their own: only the loader may insert there, and nobody may read there.

create table customers (
    tenant_id uuid not null,
    customer_id uuid not null,
    name varchar(255) not null,
    email varchar(255) not null,
    metadata jsonb,
    created_at timestamptz not null,
    payload_hash bytea not null,
    primary key (tenant_id, customer_id),
    unique (tenant_id, email)
) partition by hash (tenant_id);

create table products (
    tenant_id uuid not null,
    product_id uuid not null,
    sku varchar(100) not null,
    name varchar(255) not null,
    price numeric(12, 2) not null check (price >= 0),
    category_id uuid,
    active boolean not null,
    created_at timestamptz not null,
    payload_hash bytea not null,
    primary key (tenant_id, product_id),
    unique (tenant_id, sku)
) partition by hash (tenant_id);

-- A key of a partitioned table must hold the partition column, yet an order's ids are unique over all months and a re-sent
-- order may carry another date. So what is unique about an order stands here, and every writer of orders claims it here first.
create table order_keys (
    tenant_id uuid not null,
    external_order_id varchar(100) not null,
    order_id uuid not null,
    order_date timestamptz not null,
    payload_hash bytea not null,
    primary key (tenant_id, external_order_id),
    unique (tenant_id, order_id)
) partition by hash (tenant_id);

-- One index is key, page order of the search, and cover for its filters on status, total and currency.
create table orders (
    tenant_id uuid not null,
    order_id uuid not null,
    external_order_id varchar(100) not null,
    customer_id uuid,
    customer_name_snapshot varchar(255),
    customer_email_snapshot varchar(255),
    total_amount numeric(12, 2) not null check (total_amount >= 0),
    currency varchar(3) not null,
    order_status varchar(20) not null,
    order_date timestamptz not null,
    raw_payload jsonb,
    created_at timestamptz not null,
    primary key (tenant_id, order_date, order_id) include (order_status, total_amount, currency)
) partition by range (order_date);

create table order_items (
    tenant_id uuid not null,
    order_item_id uuid not null,
    order_id uuid not null,
    product_id uuid not null,
    quantity integer not null check (quantity >= 1),
    unit_price numeric(12, 2) not null check (unit_price >= 0),
    line_total numeric(12, 2) not null check (line_total >= 0),
    payload_hash bytea not null,
    primary key (tenant_id, order_item_id)
) partition by hash (tenant_id);

do $$
declare
    parent text;
begin
    foreach parent in array array['customers', 'products', 'order_keys', 'order_items'] loop
        perform isolate_tenants(parent::regclass);
        execute format('grant select on %I to intake_api', parent);
        execute format('grant select, delete on %I to intake_loader', parent);
        for remainder in 0..7 loop
            execute format(
                'create table %I partition of %I for values with (modulus 8, remainder %s)',
                parent || '_p' || remainder, parent, remainder
            );
            execute format('grant insert on %I to intake_loader', parent || '_p' || remainder);
        end loop;
    end loop;
end
$$;

select isolate_tenants('orders');
grant select on orders to intake_api;
grant select, delete on orders to intake_loader;
create table orders_default partition of orders default;
grant insert on orders_default to intake_loader;

-- Makes the monthly partitions from one month to another, both included, and moves what the default partition
-- holds of them. Returns how many it made.
create function ensure_order_months(first_month date, last_month date) returns integer
language plpgsql as $$
declare
    month date := date_trunc('month', first_month);
    leaf text;
    made integer := 0;
begin
    -- no promotion may add a row to the default partition between the move and the attachment
    lock table orders_default in share row exclusive mode;
    while month <= last_month loop
        leaf := 'orders_' || to_char(month, '"y"YYYY"m"MM');
        if to_regclass(leaf) is null then
            execute format('create table %I (like orders including defaults including constraints)', leaf);
            execute format(
                'with moved as (
                    delete from orders_default where order_date >= %L and order_date < %L returning *
                ) insert into %I select * from moved',
                month::timestamp at time zone 'utc', (month + interval '1 month')::timestamp at time zone 'utc', leaf
            );
            execute format(
                'alter table orders attach partition %I for values from (%L) to (%L)',
                leaf, month::timestamp at time zone 'utc', (month + interval '1 month')::timestamp at time zone 'utc'
            );
            execute format('grant insert on %I to intake_loader', leaf);
            made := made + 1;
        end if;
        month := month + interval '1 month';
    end loop;
    return made;
end
$$;
revoke execute on function ensure_order_months from public;

select ensure_order_months((now() - interval '36 months')::date, (now() + interval '3 months')::date);
