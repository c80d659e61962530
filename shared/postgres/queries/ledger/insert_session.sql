insert into upload_sessions (
    session_id, tenant_id, upload_token, manifest, dry_run, expires_at, callback_url, max_rejects,
    max_rejects_basis_points, reject_missing_references, trace_id
)
values ($1, $2, $3, $4::text::jsonb, $5, now() + interval '7 days', $6, $7, $8, $9, $10)
returning expires_at
