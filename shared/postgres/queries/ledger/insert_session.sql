insert into upload_sessions (session_id, tenant_id, upload_token, manifest, dry_run, expires_at)
values ($1, $2, $3, $4::text::jsonb, $5, now() + interval '7 days')
returning expires_at
