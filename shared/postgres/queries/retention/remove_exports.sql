delete from exports
where tenant_id = $1 and expires_at < $2 and is_removed
