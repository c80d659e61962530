update price_followers
set held_until = now()
where tenant_id = $1 and follower = $2
