-- What a table that is hash-partitioned by tenant needs besides its columns, for the tables that come from here on: the
-- policy, the eight leaves that the loader may COPY into, and the grants.
create function make_tenant_table(parent regclass) returns void
language plpgsql as $$
declare
    name text := (select relname from pg_class where oid = parent);
begin
    perform isolate_tenants(parent);
    execute format('grant select on %I to intake_api', name);
    execute format('grant select, delete on %I to intake_loader', name);
    for remainder in 0..7 loop
        execute format(
            'create table %I partition of %I for values with (modulus 8, remainder %s)',
            name || '_p' || remainder, name, remainder
        );
        execute format('grant insert on %I to intake_loader', name || '_p' || remainder);
    end loop;
end
$$;
revoke execute on function make_tenant_table from public;
