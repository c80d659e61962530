-- The ledger of uploads: what is expected, what has arrived, and what has been done. Every effect on the production
-- tables commits together with its row here.

create table upload_sessions (
    session_id uuid primary key,
    tenant_id uuid not null references tenants,
    upload_token uuid not null unique,
    manifest jsonb,
    dry_run boolean not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index upload_sessions_tenant on upload_sessions (tenant_id, expires_at);
select isolate_tenants('upload_sessions');

create table files (
    file_id uuid primary key,
    tenant_id uuid not null references tenants,
    session_id uuid not null references upload_sessions,
    -- the turn of the file in its session: datasets in the order of dependency, then files as they were declared
    dataset_rank smallint not null,
    ordinal integer not null,
    dataset varchar(40) not null,
    name varchar(255) not null,
    size_bytes bigint not null check (size_bytes >= 0),
    sha256 bytea check (length(sha256) = 32),
    multipart_upload_id text,
    object_etag text,
    state varchar(30) not null default 'awaiting_upload',
    error_code varchar(40),
    error_detail text,
    created_at timestamptz not null default now(),
    uploaded_at timestamptz,
    planned_at timestamptz,
    staged_at timestamptz,
    finished_at timestamptz
);
create index files_session on files (session_id, dataset_rank, ordinal);
create index files_open on files (tenant_id, state) where finished_at is null;
select isolate_tenants('files');

-- One chunk is the unit of work: its rows are staged as one object and promoted as one slice, in one transaction.
create table chunks (
    file_id uuid not null references files,
    chunk_index integer not null,
    tenant_id uuid not null,
    start_byte bigint not null,
    end_byte bigint not null,
    state varchar(10) not null default 'planned' check (state in ('planned', 'staged', 'promoted', 'failed')),
    lines integer not null default 0,
    accepted integer not null default 0,
    rejected integer not null default 0,
    inserted integer not null default 0,
    updated integer not null default 0,
    unchanged integer not null default 0,
    error_code varchar(40),
    changed_at timestamptz not null default now(),
    primary key (file_id, chunk_index),
    check (state <> 'promoted' or accepted = inserted + updated + unchanged + rejected)
);
create index chunks_open on chunks (file_id, chunk_index) where state in ('planned', 'staged');
select isolate_tenants('chunks');

create table rejects (
    file_id uuid not null,
    chunk_index integer not null,
    -- 0-based within the chunk: the number within the file is known when all chunks before it are
    line integer not null,
    tenant_id uuid not null,
    byte_offset bigint not null,
    key text,
    errors json not null, -- as it is shown, field by field
    record text not null,
    primary key (file_id, chunk_index, line)
);
select isolate_tenants('rejects');

grant select, insert on upload_sessions to intake_api;
grant select, insert, update on files to intake_api;
grant select on chunks, rejects to intake_api;
grant select on upload_sessions to intake_loader;
grant select, update on files to intake_loader;
grant select, insert, update on chunks to intake_loader;
grant select, insert on rejects to intake_loader;
