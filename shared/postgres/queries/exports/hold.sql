-- For as long as the transaction lives, and not a moment longer.
select pg_try_advisory_xact_lock($1)
