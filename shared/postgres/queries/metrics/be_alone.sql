-- The days of a tenant are counted by one at a time. Many days are joined in memory, and few are there before another process
-- would have begun to help.
select
    pg_try_advisory_xact_lock(hashtextextended('metrics/' || $1::text, 0)) as is_alone,
    set_config('work_mem', '64MB', true), set_config('max_parallel_workers_per_gather', '0', true)
