-- Beside others, but not beside one who must be alone. The planner knows little of tables that have just grown: without the
-- setting it may read them whole.
select pg_advisory_xact_lock_shared(hashtextextended($1, 0)), set_config('enable_seqscan', 'off', true)
