//! From an S3 event to the file's chunk plan.

use intake_aws::messages::LoadChunk;
use intake_aws::{Error as AwsError, Head, Objects, Queue};
use intake_domain::chunk;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_lambda::batch::{Delivery, Retry};
use intake_lambda::turn::{Wake, wake};
use intake_postgres::ledger::{self, File};
use intake_postgres::{Database, Scope};
use serde::Deserialize;

/// How many chunks are read from the ledger at a time to be sent.
const PAGE: i64 = 1_000;

/// What the function works with.
pub(crate) struct Planner {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) chunks: Queue,
    pub(crate) promotions: Queue,
    pub(crate) chunk_bytes: u64,
}

/// What of S3's notification matters; the test message that S3 sends first has no records.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Record {
    s3: Entity,
}

#[derive(Deserialize)]
struct Entity {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

/// Why a file cannot be loaded.
struct Refusal {
    code: &'static str,
    detail: String,
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
        let detail = "the file could not be planned in five tries".to_owned();
        let refusal = Refusal { code: "PLANNING_FAILED", detail };
        for key in keys(body) {
            let look_up = async |scope: &mut Scope<'_>| ledger::file(scope, key.file_id).await;
            if let Some(file) = self.database.run("file", key.tenant_id, look_up).await? {
                self.refuse(&file, &refusal).await?;
            }
        }
        Ok(())
    }

    #[tracing::instrument(skip_all, fields(tenant_id = %key.tenant_id, session_id = %key.session_id, file_id = %key.file_id))]
    async fn arrive(&self, key: FileKey, delivery: Delivery) -> Result<(), Retry> {
        let Some(head) = self.objects.head(&key.to_string()).await? else {
            tracing::warn!("object is gone, ignored");
            return Ok(());
        };
        let note = async |scope: &mut Scope<'_>| {
            ledger::arrive(scope, key.file_id, &head.etag).await?;
            ledger::file(scope, key.file_id).await
        };
        let file = self.database.run("arrive", key.tenant_id, note).await?;
        let Some(file) = file.filter(|file| file.key == key) else {
            tracing::warn!("object belongs to no file in the ledger, ignored");
            return Ok(());
        };
        match file.state {
            FileState::Uploaded | FileState::Loading => match self.check(&file, &head).await? {
                Ok(()) => self.plan(&file).await,
                Err(refusal) => self.refuse(&file, &refusal).await,
            },
            // all of it is staged: whatever lies in its place now is not looked at
            FileState::Promoting => Ok(wake(&self.database, &self.promotions, &file, Wake::Itself).await?),
            _ if delivery.is_retry => Ok(wake(&self.database, &self.promotions, &file, Wake::Next).await?),
            _ => Ok(()),
        }
    }

    /// Holds the object against what was declared.
    async fn check(&self, file: &File, head: &Head) -> Result<Result<(), Refusal>, AwsError> {
        let replaced = || Refusal {
            code: "OBJECT_REPLACED",
            detail: "another object was uploaded in the file's place after the first had arrived".to_owned(),
        };
        if file.object_etag.as_deref() != Some(&head.etag) {
            return Ok(Err(replaced()));
        }
        if file.size_bytes != head.size_bytes {
            let detail = format!("{} bytes were declared, {} arrived", file.size_bytes, head.size_bytes);
            return Ok(Err(Refusal { code: "SIZE_MISMATCH", detail }));
        }
        if let (FileState::Uploaded, Some(declared)) = (file.state, &file.sha256) {
            return match self.objects.sha256(&file.key.to_string(), &head.etag, head.size_bytes).await {
                Ok(found) if found[..] == declared[..] => Ok(Ok(())),
                Ok(_) => {
                    let detail = "the object's SHA-256 is not the declared one".to_owned();
                    Ok(Err(Refusal { code: "CHECKSUM_MISMATCH", detail }))
                }
                Err(AwsError::ObjectReplaced) => Ok(Err(replaced())),
                Err(error) => Err(error),
            };
        }
        Ok(Ok(()))
    }

    async fn plan(&self, file: &File) -> Result<(), Retry> {
        let FileKey { tenant_id, file_id, .. } = file.key;
        let count = chunk::count(file.size_bytes, self.chunk_bytes);
        let write_plan = async |scope: &mut Scope<'_>| {
            let chunks = (0..count).map(|index| chunk::range(file.size_bytes, self.chunk_bytes, index));
            ledger::plan(scope, file_id, chunks).await?;
            // a file without chunks is loaded already
            ledger::finish_staging(scope, file_id).await
        };
        self.database.run("plan", tenant_id, write_plan).await?;
        let mut after = -1;
        loop {
            let read_page = async |scope: &mut Scope<'_>| ledger::planned_chunks(scope, file_id, after, PAGE).await;
            let page = self.database.run("planned_chunks", tenant_id, read_page).await?;
            let Some(last) = page.last() else { break };
            after = *last;
            let messages: Vec<_> =
                page.into_iter().map(|chunk_index| LoadChunk { tenant_id, file_id, chunk_index }).collect();
            self.chunks.send_all(&messages).await?;
        }
        Ok(wake(&self.database, &self.promotions, file, Wake::Itself).await?)
    }

    /// Ends the file, and lets the rest of its session go on.
    async fn refuse(&self, file: &File, refusal: &Refusal) -> Result<(), Retry> {
        tracing::warn!(code = refusal.code, "file refused");
        let fail = async |scope: &mut Scope<'_>| {
            ledger::fail_file(scope, file.key.file_id, refusal.code, &refusal.detail).await
        };
        self.database.run("fail_file", file.key.tenant_id, fail).await?;
        Ok(wake(&self.database, &self.promotions, file, Wake::Next).await?)
    }
}

/// The files that a notification names; what is no notification, or names no file, is dropped here.
fn keys(body: &str) -> Vec<FileKey> {
    let Ok(notification) = serde_json::from_str::<Notification>(body) else {
        tracing::error!("message is no S3 notification, dropped");
        return Vec::new();
    };
    let keys = notification.records.iter().filter_map(|record| {
        let key = FileKey::parse_encoded(&record.s3.object.key);
        if key.is_none() {
            tracing::warn!("object under a key of another form, ignored");
        }
        key
    });
    keys.collect()
}
