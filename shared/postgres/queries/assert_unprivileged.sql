-- The first of the roles that the connection's may act as, itself included, to which row-level security does not apply, or
-- that can make it so. A superuser may act as any. Leaf partitions have no policies: who reads or changes one goes
-- around those of its parent.
with roles as (
    select
        oid,
        rolname::text as name,
        case
            when rolsuper then 'is a superuser'
            when rolbypassrls then 'has BYPASSRLS'
            when rolreplication then 'may replicate'
            when rolcreaterole then 'may make roles'
            when exists (
                select from pg_shdepend, pg_database
                where datname = current_database() and deptype = 'o'
                    and refclassid = 'pg_authid'::regclass and refobjid = pg_roles.oid
                    and (dbid = pg_database.oid or (classid = 'pg_database'::regclass and objid = pg_database.oid))
            ) then 'owns what it works on'
            when exists (
                select from pg_class
                where relispartition and relkind in ('r', 'p') and (
                    has_any_column_privilege(pg_roles.oid, pg_class.oid, 'select, update')
                    or has_table_privilege(pg_roles.oid, pg_class.oid, 'delete, truncate')
                )
            ) then 'may read or change leaf partitions'
        end as reason
    from pg_roles
    where pg_has_role(current_user, oid, 'member')
)
select current_user::text, name, reason
from roles
where reason is not null
-- rights are inherited: what they come from says more
order by reason like '%leaf%', name <> current_user, name
limit 1
