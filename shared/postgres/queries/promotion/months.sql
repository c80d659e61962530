select relname::text
from pg_inherits
join pg_class on pg_class.oid = inhrelid
where inhparent = 'orders'::regclass
