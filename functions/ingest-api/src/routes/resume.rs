//! `POST /api/v1/ingest/sessions/{upload_token}/resume`: a session goes on where it stopped.
//!
//! Chunks that were given up are tried again, work that waits is sent again, and for files that have not arrived there
//! are fresh URLs for what is missing. It may be repeated, also while it runs, so that it takes no claim into
//! PostgreSQL.

use crate::app::{App, CALLS_AT_ONCE, check_open};
use crate::upload::{Parts, Upload, parts_of, presign_parts, presign_put};
use crate::words;
use axum::extract::State;
use futures_util::{StreamExt, TryStreamExt, stream};
use intake_aws::Part;
use intake_aws::messages::{LoadChunk, ObjectCreated};
use intake_domain::dataset;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_domain::upload::{UploadPlan, part_size};
use intake_lambda::Problem;
use intake_lambda::edge::{Json, Path, Tenant};
use intake_postgres::ledger::{self, FileStatus, Session};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// What to resume; all of it where nothing is named.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = Resume)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Only these of the chunks that were given up.
    #[serde(default)]
    chunk_indices: Option<Vec<u32>>,
    /// Only this file.
    #[serde(default)]
    file_id: Option<Uuid>,
}

/// What goes on.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionResumed, example = json!({
    "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
    "chunks_queued": 0,
    "status": "queued",
    "files": [{
        "file_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
        "name": "orders_1.ndjson",
        "dataset": "orders",
        "state": "awaiting_upload",
        "size_bytes": 20_971_520,
        "arrived_bytes": 16_777_216,
        "upload": {
            "kind": "multipart",
            "part_size_bytes": 16_777_216,
            "arrived_parts": [1],
            "parts": [{
                "part_number": 2,
                "size_bytes": 4_194_304,
                "url": "https://uploads.example.org/tenants/…?partNumber=2&X-Amz-Signature=…",
            }],
            "complete_path": "/api/v1/ingest/sessions/5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37/files/…/complete",
            "expires_at": "2026-01-31T04:04:05.678Z",
        },
    }],
}))]
pub(crate) struct Resumed {
    upload_id: Uuid,
    upload_token: Uuid,
    /// How many of the chunks that were asked for wait to be loaded.
    #[schema(minimum = 0)]
    chunks_queued: i64,
    #[schema(pattern = "^queued$")]
    status: &'static str,
    files: Vec<File>,
}

/// A file, and what is missing of it.
#[derive(Serialize, ToSchema)]
#[schema(as = ResumedFile)]
struct File {
    file_id: Uuid,
    name: String,
    #[schema(value_type = words::Dataset)]
    dataset: String,
    #[schema(value_type = words::FileState)]
    state: FileState,
    #[schema(minimum = 0)]
    size_bytes: i64,
    arrived_bytes: u64,
    /// What is still to be uploaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    upload: Option<Upload>,
}

/// Go on with an upload that stopped
///
/// Chunks that were given up are tried again, and there are fresh URLs for what has not arrived. It may be repeated.
#[utoipa::path(
    post,
    path = "/api/v1/ingest/sessions/{upload_token}/resume",
    operation_id = "resume_session",
    tag = "Uploads",
    params(("upload_token" = Uuid, Path, description = words::UPLOAD_TOKEN)),
    request_body(
        content = Option<Request>,
        description = "What to resume; all of it where nothing is named.",
        example = json!({}),
    ),
    responses((status = 200, description = "What goes on, and what is still to be uploaded.", body = Resumed))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(token): Path<String>,
    request: Option<Json<Request>>,
) -> Result<axum::Json<Resumed>, Problem> {
    let Json(request) = request.unwrap_or_default();
    let session = app.session(tenant, &token).await?;
    check_open(&session)?;
    let session_id = session.session_id;
    let scope = app.database.begin(tenant).await?;
    let mut files = ledger::files_of_session(&scope, session_id).await?;
    scope.commit().await?;
    if let Some(file_id) = request.file_id
        && !files.iter().any(|file| file.file_id == file_id)
    {
        return Err(Problem::not_found("file in the session"));
    }
    let resuming = Resuming { app: &app, tenant, session: &session };
    // an index that no chunk can have is that of none
    let indices: Option<Vec<i32>> = request
        .chunk_indices
        .map(|indices| indices.into_iter().filter_map(|index| i32::try_from(index).ok()).collect());
    let mut chunks_queued = 0;
    for file in files.iter_mut().filter(|file| request.file_id.is_none_or(|file_id| file.file_id == file_id)) {
        chunks_queued += resuming.go_on(file, indices.as_deref()).await?;
    }
    resuming.wake().await?;
    let files = stream::iter(files).map(async |file| resuming.describe(file).await);
    let files = files.buffered(CALLS_AT_ONCE).try_collect().await?;
    Ok(axum::Json(Resumed {
        upload_id: session_id,
        upload_token: session.upload_token,
        chunks_queued,
        status: "queued",
        files,
    }))
}

/// A session that goes on.
struct Resuming<'a> {
    app: &'a App,
    tenant: Uuid,
    session: &'a Session,
}

impl Resuming<'_> {
    fn key(&self, file_id: Uuid) -> FileKey {
        FileKey { tenant_id: self.tenant, session_id: self.session.session_id, file_id }
    }

    /// Says of a file's object what S3 says when it arrives.
    async fn announce(&self, file_id: Uuid) -> Result<(), Problem> {
        let message = ObjectCreated::of(self.key(file_id).to_string());
        Ok(self.app.uploads.send_all(&[message]).await?)
    }

    /// Lets a file go on that has arrived, and sends what it waits for. Returns how many of its chunks wait.
    async fn go_on(&self, file: &mut FileStatus, indices: Option<&[i32]>) -> Result<i64, Problem> {
        let (tenant_id, file_id) = (self.tenant, file.file_id);
        if matches!(file.state, FileState::Failed | FileState::Loading) {
            let resume = || async {
                let scope = self.app.database.begin(tenant_id).await?;
                let resumed = ledger::resume_file(&scope, file_id, indices).await?;
                scope.commit().await?;
                Ok(resumed)
            };
            let resumed = retry("resume_file", resume).await?;
            let resumed = resumed.ok_or_else(|| Problem::not_found("file in the session"))?;
            file.state = resumed.state;
            if let Some(dataset) = dataset::by_name(&file.dataset).filter(|_| !resumed.first_chunks.is_empty()) {
                let message = |chunk_index| LoadChunk { tenant_id, file_id, chunk_index };
                let messages: Vec<_> = resumed.first_chunks.into_iter().map(message).collect();
                self.app.chunks.of(dataset).send_all(&messages).await?;
            }
            if file.state != FileState::Uploaded {
                return Ok(resumed.waiting_chunks);
            }
        }
        if file.state == FileState::Uploaded {
            self.announce(file_id).await?;
        }
        Ok(0)
    }

    /// Wakes whoever has its turn.
    async fn wake(&self) -> Result<(), Problem> {
        let scope = self.app.database.begin(self.tenant).await?;
        let open = ledger::open_files(&scope, self.session.session_id).await?;
        scope.commit().await?;
        match open.first() {
            Some(first) => self.app.wake(self.key(first.file_id)).await,
            None => Ok(()),
        }
    }

    /// A file with what is missing of it.
    async fn describe(&self, file: FileStatus) -> Result<File, Problem> {
        let size_bytes = u64::try_from(file.size_bytes).unwrap_or_default();
        let (arrived_bytes, upload) = match (file.state, &file.multipart_upload_id) {
            (FileState::AwaitingUpload, None) => self.put(&file).await?,
            (FileState::AwaitingUpload, Some(upload_id)) => self.parts(&file, upload_id).await?,
            _ if file.uploaded_at.is_some() => (size_bytes, None),
            _ => (0, None),
        };
        Ok(File {
            file_id: file.file_id,
            name: file.name,
            dataset: file.dataset,
            state: file.state,
            size_bytes: file.size_bytes,
            arrived_bytes,
            upload,
        })
    }

    /// What is missing of a file that is uploaded with one PUT.
    async fn put(&self, file: &FileStatus) -> Result<(u64, Option<Upload>), Problem> {
        if let Some(arrived) = self.arrived(file.file_id).await? {
            return Ok((arrived, None));
        }
        let (key, sha256) = (self.key(file.file_id), file.sha256.as_deref());
        Ok((0, Some(presign_put(&self.app.objects, key, file.size_bytes, sha256).await?)))
    }

    /// The size of a file's object, if it is there: then its notification may be lost, and is sent again.
    async fn arrived(&self, file_id: Uuid) -> Result<Option<u64>, Problem> {
        let Some(head) = self.app.objects.head(&self.key(file_id).to_string()).await? else {
            return Ok(None);
        };
        self.announce(file_id).await?;
        Ok(Some(head.size_bytes))
    }

    /// What is missing of a file that is uploaded in parts. When nothing is, they are put together.
    async fn parts(&self, file: &FileStatus, upload_id: &str) -> Result<(u64, Option<Upload>), Problem> {
        let parts = self.all_parts(file, upload_id);
        let Parts { size_bytes, part_bytes, count, .. } = parts;
        let object = parts.key.to_string();
        let is_of_plan = |part: &Part| {
            u64::try_from(part.number).is_ok_and(|number| {
                (1..=count).contains(&number) && part.size_bytes == part_size(size_bytes, part_bytes, number)
            })
        };
        let Some(arrived) = self.app.objects.parts(&object, upload_id).await? else {
            // the upload is gone because it is complete, or because it was aborted
            return match self.arrived(file.file_id).await? {
                Some(arrived) => Ok((arrived, None)),
                None => self.begin_again(file, upload_id).await,
            };
        };
        if !arrived.iter().all(is_of_plan) {
            // parts of another size than today's do not fit with those that are missing
            return self.begin_again(file, upload_id).await;
        }
        let arrived_bytes = arrived.iter().map(|part| part.size_bytes).sum();
        if arrived_bytes == size_bytes {
            match self.app.objects.complete_multipart(&object, upload_id, arrived).await {
                // the client was faster
                Err(error) if error.code() == Some("NoSuchUpload") => {}
                completed => completed?,
            }
            return Ok((arrived_bytes, None));
        }
        let numbers = arrived.iter().filter_map(|part| u64::try_from(part.number).ok()).collect();
        Ok((arrived_bytes, Some(presign_parts(&self.app.objects, &parts, Some(numbers)).await?)))
    }

    fn all_parts<'p>(&self, file: &FileStatus, upload_id: &'p str) -> Parts<'p> {
        let size_bytes = u64::try_from(file.size_bytes).unwrap_or_default();
        let (part_bytes, count) = parts_of(UploadPlan::new(size_bytes, self.app.part_bytes), size_bytes);
        let (key, upload_token) = (self.key(file.file_id), self.session.upload_token);
        Parts { key, upload_token, upload_id, size_bytes, part_bytes, count }
    }

    /// Begins another multipart upload in the place of one that is of no use. Of two who do so at once, both go on with
    /// that of the first.
    async fn begin_again(&self, file: &FileStatus, old: &str) -> Result<(u64, Option<Upload>), Problem> {
        let file_id = file.file_id;
        let object = self.key(file_id).to_string();
        let new = self.app.objects.begin_multipart(&object).await?;
        let note = || async {
            let scope = self.app.database.begin(self.tenant).await?;
            let is_ours = ledger::replace_multipart_upload(&scope, file_id, old, &new).await?;
            let noted = ledger::file(&scope, file_id).await?;
            scope.commit().await?;
            Ok((is_ours, noted))
        };
        let (is_ours, noted) = retry("replace_multipart_upload", note).await?;
        self.app.objects.abort_multipart(&object, if is_ours { old } else { &new }).await?;
        let upload_id =
            noted.filter(|noted| noted.state == FileState::AwaitingUpload).and_then(|noted| noted.multipart_upload_id);
        match upload_id {
            Some(upload_id) => {
                let parts = self.all_parts(file, &upload_id);
                Ok((0, Some(presign_parts(&self.app.objects, &parts, Some(Vec::new())).await?)))
            }
            None => Ok((0, None)),
        }
    }
}
