-- Files that a tenant's rows are written into. A row here is the order for one and the book of the work on it.

create table exports (
    export_id uuid primary key,
    tenant_id uuid not null references tenants,
    dataset varchar(40) not null,
    format varchar(10) not null,
    compression varchar(10) not null,
    columns jsonb not null,
    filters jsonb not null,
    spreadsheet_safe boolean not null,
    state varchar(10) not null default 'pending'
        check (state in ('pending', 'running', 'completed', 'failed', 'cancelled', 'expired')),
    trace_id varchar(40),
    created_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz not null default now() + interval '7 days',
    -- what is shown of the work: it never goes back, whatever is begun anew
    rows_estimated bigint,
    rows_done bigint not null default 0,
    bytes_done bigint not null default 0,
    -- Who works on it: the number of the try, under which alone its books are written.
    attempt integer not null default 0,
    worked_at timestamptz,
    -- The try that began the object, whose number is in the object's key, and its multipart upload.
    object_attempt integer,
    upload_id text,
    -- Where the next try may go on: the key of the first row that is not in a part yet, how many rows and bytes are, the
    -- state of the hash over them, and the oldest transaction that the snapshot of the try did not see as ended.
    resume_key jsonb,
    resume_rows bigint,
    resume_bytes bigint,
    resume_sha256 bytea,
    resume_xmin bigint,
    manifest json,
    error_code varchar(40),
    error_detail text,
    check (num_nonnulls(resume_key, resume_rows, resume_bytes, resume_sha256, resume_xmin) in (0, 5))
);
create index exports_newest on exports (tenant_id, export_id);
create index exports_open on exports (tenant_id, worked_at) where state in ('pending', 'running');
select isolate_tenants('exports');

-- The parts of an object that have arrived in the bucket.
create table export_parts (
    export_id uuid not null references exports on delete cascade,
    part_number integer not null,
    tenant_id uuid not null,
    size_bytes bigint not null,
    etag text not null,
    primary key (export_id, part_number)
);
select isolate_tenants('export_parts');

grant select, insert, update on exports to intake_api;
grant select, insert, delete, update (size_bytes, etag) on export_parts to intake_api;
grant select, update on exports to intake_loader;
grant select on export_parts to intake_loader;
