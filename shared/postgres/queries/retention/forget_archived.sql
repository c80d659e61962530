delete from archive.months
where leaf = $1::text::name
