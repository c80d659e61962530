-- Exports whose message may be lost: nobody works on them, or has for a while.
select export_id from exports
where tenant_id = $1 and state in ('pending', 'running')
    and coalesce(worked_at, created_at) < now() - interval '20 minutes'
order by export_id
