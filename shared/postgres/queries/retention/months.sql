-- The monthly partitions of orders, by the ends of their names.
select substring(relname from 'orders_(y\d+m\d\d)')
from pg_inherits
join pg_class on pg_class.oid = inhrelid
where inhparent = 'orders'::regclass and relname ~ '^orders_y\d+m\d\d$'
order by relname
