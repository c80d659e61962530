-- What the planner knows of a tenant that has just sent a lot.

-- Of a tenant that came after a table was analyzed the planner expects a single row, and by which index a single row is
-- found makes no difference to it: asked for 10,000 ids, it goes through all that the tenant has. Autovacuum analyzes a
-- table anew when a tenth of it has changed, which may be a million rows too late. So whoever has put many rows of the tenant of
-- its transaction into a partition has it look once more, unless the planner knows, or the rows are so few of all that a sample
-- would hardly have any of them. Only an owner may analyze a table. Whether the planner did not know is returned; a partition that
-- somebody else is analyzing is left to them.
create function learn_of_tenant(leaf regclass, has_rows bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant uuid := nullif(current_setting('app.tenant_id', true), '')::uuid;
    expected json;
    of_all json;
begin
    if not exists (
        select
        from pg_class
        where oid = leaf and relispartition and relkind = 'r' and relnamespace = 'public'::regnamespace
    ) then
        raise exception '% is no partition', leaf using errcode = 'insufficient_privilege';
    end if;
    execute format('explain (format json) select from %s where tenant_id = %L', leaf, tenant) into expected;
    if (expected -> 0 -> 'Plan' ->> 'Plan Rows')::numeric * 4 >= has_rows then
        return false;
    end if;
    -- a sample has 30,000 rows
    execute format('explain (format json) select from %s', leaf) into of_all;
    if (of_all -> 0 -> 'Plan' ->> 'Plan Rows')::numeric > has_rows::numeric * 1000 then
        return false;
    end if;
    execute format('analyze (skip_locked) %s (tenant_id)', leaf);
    return true;
end
$$;
revoke execute on function learn_of_tenant from public;
grant execute on function learn_of_tenant to intake_loader;

-- A statement of a function that died ends, as it does for the API's role.
alter role intake_loader set client_connection_check_interval = '1s';
