-- Held to its end by whoever finds out days from orders that may move meanwhile.
select pg_advisory_xact_lock_shared(hashtextextended('metrics/followers/' || $1::text, 0))
