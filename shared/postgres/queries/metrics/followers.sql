select virtualtransaction
from pg_locks
where
    locktype = 'advisory' and granted and objsubid = 1
    and database = (select oid from pg_database where datname = current_database())
    and (classid::bigint << 32 | objid::bigint) = hashtextextended('metrics/followers/' || $1::text, 0)
