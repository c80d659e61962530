-- The days of a tenant are counted by one at a time.
select pg_advisory_xact_lock(hashtextextended('metrics/' || $1::text, 0))
