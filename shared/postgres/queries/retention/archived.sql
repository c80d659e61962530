select leaf::text, cleaned_at is not null and archived_at < now() - make_interval(days => $1) as is_over
from archive.months
where cleaned_at is null or archived_at < now() - make_interval(days => $1)
order by archived_at, leaf
