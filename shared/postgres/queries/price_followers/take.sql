-- One place that nobody holds. Of two who want the same one, the second waits for the first, and gets none.
insert into price_followers (tenant_id, place, follower, held_until)
select $1, free.place, $2, now() + interval '15 seconds'
from generate_series(1, 5) as free (place)
where
    not exists (
        select
        from price_followers as held
        where held.tenant_id = $1 and held.place = free.place and held.held_until > now()
    )
order by free.place
limit 1
on conflict (tenant_id, place) do update
set follower = excluded.follower, held_until = excluded.held_until
where price_followers.held_until <= now()
