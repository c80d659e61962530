update price_followers
set held_until = now() + interval '15 seconds'
where tenant_id = $1 and follower = $2
