//! From an S3 event to the file's chunk plan.

use crate::cut::Plan;
use bytes::BytesMut;
use intake_aws::messages::{LoadChunk, ObjectCreated};
use intake_aws::{Error as AwsError, Head, Objects};
use intake_domain::chunk;
use intake_domain::failure::Failure;
use intake_domain::format::{Compression, MAGIC_BYTES};
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_lambda::batch::{Delivery, Retry};
use intake_lambda::lanes::Lanes;
use intake_lambda::turn::Turns;
use intake_lambda::{fail_point, trace};
use intake_postgres::ledger::{self, File, PlannedChunk};
use intake_postgres::{Database, Scope};

/// What the function works with.
pub(crate) struct Planner {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) chunks: Lanes,
    pub(crate) turns: Turns,
    pub(crate) chunk_bytes: u64,
}

/// Why a file cannot be loaded.
pub(crate) struct Refusal {
    failure: Failure,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(failure: Failure, detail: impl Into<String>) -> Self {
        Self { failure, detail: detail.into() }
    }

    /// Another object lies under the key than the one that arrived.
    pub(crate) fn replaced() -> Self {
        let detail = "another object was uploaded in the file's place after the first had arrived";
        Self::new(Failure::ObjectReplaced, detail)
    }
}

impl Planner {
    /// Handles one message. Run again it plans nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        for key in keys(body) {
            self.arrive(key, delivery).await?;
        }
        Ok(())
    }

    /// Ends files that could not be planned.
    pub(crate) async fn give_up(&self, body: &str) -> Result<(), Retry> {
        let refusal = Refusal::new(Failure::PlanningFailed, "the file could not be cut into chunks in five tries");
        for key in keys(body) {
            let look_up = async |scope: &mut Scope<'_>| ledger::file(scope, key.file_id).await;
            if let Some(file) = self.database.run("file", key.tenant_id, look_up).await? {
                self.refuse(&file, &refusal).await?;
            }
        }
        Ok(())
    }

    async fn arrive(&self, key: FileKey, delivery: Delivery) -> Result<(), Retry> {
        trace::about("tenant_id", key.tenant_id);
        trace::about("session_id", key.session_id);
        trace::about("file_id", key.file_id);
        let Some(head) = self.objects.head(&key.to_string()).await? else {
            tracing::warn!("object is gone, ignored");
            return Ok(());
        };
        fail_point!("plan-file.before-arrive", key.tenant_id);
        let note = async |scope: &mut Scope<'_>| {
            ledger::arrive(scope, key.file_id, &head.etag).await?;
            ledger::file(scope, key.file_id).await
        };
        let file = self.database.run("arrive", key.tenant_id, note).await?;
        fail_point!("plan-file.after-arrive", key.tenant_id);
        let Some(file) = file.filter(|file| file.key == key) else {
            tracing::warn!("object belongs to no file in the ledger, ignored");
            return Ok(());
        };
        trace::follow(&file);
        match file.state {
            _ if file.is_cancelled && !file.state.is_terminal() => {
                Ok(self.turns.end_cancelled(&self.database, &file).await?)
            }
            FileState::Uploaded | FileState::Loading => match self.check(&file, &head).await? {
                Ok(()) => self.load(&file).await,
                Err(refusal) => self.refuse(&file, &refusal).await,
            },
            // all of it is staged: whatever lies in its place now is not looked at
            FileState::Promoting => Ok(self.turns.wake(&self.database, &file).await?),
            _ if delivery.is_retry => Ok(self.turns.wake(&self.database, &file).await?),
            _ => Ok(()),
        }
    }

    /// Holds the object against what was declared.
    async fn check(&self, file: &File, head: &Head) -> Result<Result<(), Refusal>, AwsError> {
        if file.object_etag.as_deref() != Some(&head.etag) {
            return Ok(Err(Refusal::replaced()));
        }
        if file.state == FileState::Loading {
            return Ok(Ok(()));
        }
        if file.size_bytes != head.size_bytes {
            let detail = format!("{} bytes were declared, {} arrived", file.size_bytes, head.size_bytes);
            return Ok(Err(Refusal::new(Failure::SizeMismatch, detail)));
        }
        match self.look_into(file, head).await {
            Err(AwsError::ObjectReplaced) => Ok(Err(Refusal::replaced())),
            looked => looked,
        }
    }

    /// Holds the object's bytes against the declared checksum and the format that its name says.
    async fn look_into(&self, file: &File, head: &Head) -> Result<Result<(), Refusal>, AwsError> {
        let key = file.key.to_string();
        let mut start = BytesMut::new();
        let magic = head.size_bytes.min(MAGIC_BYTES as u64);
        self.objects.read_range(&key, &head.etag, 0, magic, &mut start).await?;
        let (said, found) = (file.format.compression, Compression::of_bytes(&start));
        // an empty file may have any name
        if said != found && !start.is_empty() {
            let detail = format!("by its name the compression is {}, by its bytes {}", said.as_str(), found.as_str());
            return Ok(Err(Refusal::new(Failure::FormatMismatch, detail)));
        }
        if let Some(declared) = &file.sha256 {
            let found = self.objects.sha256(&key, &head.etag, head.size_bytes).await?;
            if found[..] != declared[..] {
                let detail = "the object's SHA-256 is not the declared one";
                return Ok(Err(Refusal::new(Failure::ChecksumMismatch, detail)));
            }
        }
        Ok(Ok(()))
    }

    /// Cuts the file into chunks, unless that is done, and lets loading begin.
    async fn load(&self, file: &File) -> Result<(), Retry> {
        if file.state == FileState::Uploaded {
            match self.cut(file).await? {
                Ok(Some(plan)) => self.write_plan(file, plan).await?,
                // somebody asked for the end of it meanwhile
                Ok(None) => return Ok(self.turns.end_cancelled(&self.database, file).await?),
                Err(refusal) => return self.refuse(file, &refusal).await,
            }
            fail_point!("plan-file.after-plan", file.key.tenant_id);
        }
        let FileKey { tenant_id, file_id, .. } = file.key;
        let first = async |scope: &mut Scope<'_>| ledger::first_of_window(scope, file_id).await;
        let first = self.database.run("first_of_window", tenant_id, first).await?;
        let messages: Vec<_> =
            first.into_iter().map(|chunk_index| LoadChunk { tenant_id, file_id, chunk_index }).collect();
        self.chunks.of(file.dataset).send_all(&messages).await?;
        fail_point!("plan-file.after-send", tenant_id);
        self.turns.wake(&self.database, file).await?;
        fail_point!("plan-file.after-wake", tenant_id);
        tracing::info!(chunks_sent = messages.len(), "loading begins");
        Ok(())
    }

    /// The chunks of a file: by arithmetic where its lines lie as they are, by reading it through where they do not.
    async fn cut(&self, file: &File) -> Result<Result<Option<Plan>, Refusal>, Retry> {
        if file.format.is_read_through() {
            return crate::cut::read_through(&self.database, &self.objects, file, self.chunk_bytes).await;
        }
        let count = chunk::count(file.size_bytes, self.chunk_bytes);
        let ranges = (0..count).map(|index| chunk::range(file.size_bytes, self.chunk_bytes, index));
        let chunks = ranges.map(|range| PlannedChunk { range, piece_etag: None }).collect();
        Ok(Ok(Some(Plan { csv_header: None, chunks })))
    }

    async fn write_plan(&self, file: &File, plan: Plan) -> Result<(), Retry> {
        let file_id = file.key.file_id;
        let write = async |scope: &mut Scope<'_>| {
            let is_ours = ledger::plan(scope, file_id, plan.csv_header.as_deref(), &plan.chunks).await?;
            // a file without chunks is loaded already
            ledger::finish_staging(scope, file_id).await?;
            Ok((is_ours, ledger::file(scope, file_id).await?))
        };
        let (is_ours, now) = self.database.run("plan", file.key.tenant_id, write).await?;
        // another worker was faster, and the objects that this one wrote late are no longer wanted by anybody
        let is_over = now.is_some_and(|now| now.state.is_completed());
        if !is_ours && is_over && file.format.compression != Compression::None {
            let pieces: Vec<_> = plan.chunks.iter().map(|chunk| file.key.piece(chunk.range)).collect();
            self.objects.delete(&pieces).await?;
        }
        Ok(())
    }

    /// Ends the file, and lets the rest of its session go on.
    async fn refuse(&self, file: &File, refusal: &Refusal) -> Result<(), Retry> {
        let (tenant, Refusal { failure, detail }) = (file.key.tenant_id, refusal);
        tracing::warn!(code = failure.as_str(), "file refused");
        fail_point!("plan-file.before-refuse", tenant);
        let fail = async |scope: &mut Scope<'_>| ledger::fail_file(scope, file.key.file_id, *failure, detail).await;
        self.database.run("fail_file", tenant, fail).await?;
        fail_point!("plan-file.after-refuse", tenant);
        Ok(self.turns.wake(&self.database, file).await?)
    }
}

/// The files that a notification names; what is no notification, or names no file, is dropped here.
fn keys(body: &str) -> Vec<FileKey> {
    let Ok(notification) = serde_json::from_str::<ObjectCreated>(body) else {
        tracing::error!("message is no S3 notification, dropped");
        return Vec::new();
    };
    let keys = notification.keys().filter_map(|key| {
        let key = FileKey::parse_encoded(key);
        if key.is_none() {
            tracing::warn!("object under a key of another form, ignored");
        }
        key
    });
    keys.collect()
}
