-- A join with some million orders that has only the usual memory is done by way of the disk.
select set_config('work_mem', '64MB', true)
