-- The name under which others see the same state, and the oldest transaction that had not ended in it: whatever a row's
-- version was made by that is not seen here is not older.
select pg_export_snapshot() as name, (pg_snapshot_xmin(pg_current_snapshot())::text::numeric % 4294967296)::bigint as xmin
