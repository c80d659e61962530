-- Promotions of one tenant's dataset run one after another, which makes look-up, decision and write one step. The planner
-- knows little of tables that have just grown: without the setting it may read them whole for every slice.
select
    pg_advisory_xact_lock(hashtextextended($1, 0)),
    set_config('enable_seqscan', 'off', true)
