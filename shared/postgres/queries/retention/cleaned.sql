update archive.months
set cleaned_at = now()
where leaf = $1::text::name and cleaned_at is null
