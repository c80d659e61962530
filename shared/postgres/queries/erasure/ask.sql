-- One that was erased before and added anew since begins from the beginning.
insert into erasures as known (tenant_id, asked_by)
select $1, left($2, 100)
where exists (select from tenants where tenant_id = $1)
on conflict (tenant_id) do update
set asked_at = now(), asked_by = excluded.asked_by, finished_at = null, removed = '{}'
where known.tenant_id = $1 and known.finished_at is not null
