-- Every statement of a search has an index, and wants few of many rows: what reads tables whole is out of the question
-- however little the planner knows of tables that have just grown.
select
    set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true)
