-- What a session asks for and what its files are: formats, tolerance of rejects, missing references, cancelling, a call back.

alter table upload_sessions
    -- when somebody asked for the end of it; its files end as soon as no work holds them
    add column cancelled_at timestamptz,
    add column callback_url varchar(2048),
    -- what holds for files that name nothing else; null: any number of rejects
    add column max_rejects bigint check (max_rejects >= 0),
    add column max_rejects_basis_points integer check (max_rejects_basis_points between 0 and 10000),
    add column reject_missing_references boolean not null default false;
create index upload_sessions_listed on upload_sessions (tenant_id, session_id);

alter table files
    add column layout varchar(10) not null default 'ndjson' check (layout in ('ndjson', 'csv')),
    add column compression varchar(10) not null default 'none' check (compression in ('none', 'gzip', 'zstd')),
    -- the first record of a CSV file, known once it is planned
    add column csv_header text,
    add column max_rejects bigint check (max_rejects >= 0),
    add column max_rejects_basis_points integer check (max_rejects_basis_points between 0 and 10000),
    add column reject_missing_references boolean not null default false;

alter table chunks
    -- the version of the object that holds the chunk's own bytes, where a file was unpacked into such
    add column piece_etag text,
    -- references of promoted rows to rows that are not there
    add column dangling integer not null default 0,
    add column error_detail text;

grant update (cancelled_at) on upload_sessions to intake_api, intake_loader;
grant update (state, error_code, error_detail, changed_at) on chunks to intake_api;
