-- One that has come since the tenants were read may have brought orders before their month was archived.
update archive.months as stored
set cleaned_at = now()
where
    stored.leaf = $1::text::name
    and stored.cleaned_at is null
    and not exists (
        select from tenants
        where not exists (
            select from archive.progress as known
            where known.leaf = stored.leaf and known.tenant_id = tenants.tenant_id and known.is_done
        )
    )
