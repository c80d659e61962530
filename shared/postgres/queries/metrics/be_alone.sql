-- The days of a tenant are counted by one at a time. Many days are joined in memory, and few are there before another process
-- would have begun to help. Nobody waits for the disk: a server that crashes right after the commit takes back what was counted
-- together with the touches that were taken, and nothing else.
select
    pg_try_advisory_xact_lock(hashtextextended('metrics/' || $1::text, 0)) as is_alone,
    set_config('work_mem', '64MB', true), set_config('max_parallel_workers_per_gather', '0', true),
    set_config('synchronous_commit', 'off', true)
