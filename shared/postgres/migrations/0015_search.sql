-- Finding orders: by what their customers are called, by their products, by time.

-- What an order has of its customer, once for each name and address: the tokens of the three-letter pieces of both. Tokens and
-- numbers are made in the code (text_search.rs), with the tenant in them.
create table order_contacts (
    tenant_id uuid not null,
    contact bigint not null,
    tokens bigint[] not null default '{}',
    primary key (tenant_id, contact)
) partition by hash (tenant_id);
select make_tenant_table('order_contacts');
create index order_contacts_tokens on order_contacts using gin (tokens);

-- Which contact an order has, beside its date, so that the orders of a few contacts are found in one place and not in each
-- month. Null: recorded before there were contacts; `maintain` makes up for it.
alter table order_keys add column contact bigint;
create index order_keys_of_contact on order_keys (tenant_id, contact, order_date, order_id);
grant update (contact) on order_keys to intake_loader;

-- The operators of arrays are not leakproof, so that no index serves them behind a policy. This looks for the tenant who asks,
-- and gives away numbers alone.
create policy operator on order_contacts to current_user using (true) with check (true);
create function find_contacts(wanted bigint[], most integer) returns setof bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select known.contact
    from public.order_contacts as known
    where known.tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid and known.tokens @> wanted
    limit most
$$;
revoke execute on function find_contacts from public;
grant execute on function find_contacts to intake_api;

-- A query that nobody waits for any more ends, and so does one that takes longer than anybody would wait.
alter role intake_api set client_connection_check_interval = '1s';
alter role intake_api set statement_timeout = '25s';
