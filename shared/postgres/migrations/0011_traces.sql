-- Everything that an upload brings about has the trace of the request that opened its session. S3 says nothing of it when an
-- object arrives, so it is kept here.

alter table upload_sessions add column trace_id varchar(35) check (trace_id ~ '^1-[0-9a-f]{8}-[0-9a-f]{24}$');
