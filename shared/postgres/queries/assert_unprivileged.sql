select
    current_user::text,
    rolsuper or rolbypassrls or exists (
        select from pg_class
        where relowner = pg_roles.oid and relkind in ('r', 'p')
    )
from pg_roles
where rolname = current_user
