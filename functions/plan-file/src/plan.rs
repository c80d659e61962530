//! From an S3 event to the file's chunk plan.

use intake_aws::messages::{LoadChunk, PromoteFile};
use intake_aws::{Error as AwsError, Head, Objects, Queue};
use intake_domain::chunk;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_lambda::batch::Retry;
use intake_postgres::ledger::{self, File};
use intake_postgres::{Database, retry};
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
    pub(crate) async fn handle(&self, body: &str) -> Result<(), Retry> {
        let Ok(notification) = serde_json::from_str::<Notification>(body) else {
            tracing::error!("message is no S3 notification, dropped");
            return Ok(());
        };
        for record in notification.records {
            match FileKey::parse_encoded(&record.s3.object.key) {
                Some(key) => self.arrive(key).await?,
                None => tracing::warn!("object under a key of another form, ignored"),
            }
        }
        Ok(())
    }

    #[tracing::instrument(skip_all, fields(tenant_id = %key.tenant_id, session_id = %key.session_id, file_id = %key.file_id))]
    async fn arrive(&self, key: FileKey) -> Result<(), Retry> {
        let Some(head) = self.objects.head(&key.to_string()).await? else {
            tracing::warn!("object is gone, ignored");
            return Ok(());
        };
        let Some(file) = retry("arrive", || self.note(key, &head)).await? else {
            tracing::warn!("object belongs to no file in the ledger, ignored");
            return Ok(());
        };
        if !file.state.is_terminal() {
            match self.check(&file, &head).await? {
                Ok(()) => self.plan(&file).await?,
                Err(refusal) => retry("refuse", || self.refuse(&file, &refusal)).await?,
            }
        }
        // a file that ends here, now or in an earlier try, may be what the next one waits for
        let promotion = retry("next_promotion", || self.next_promotion(&file)).await?;
        self.promotions.send_all(promotion.as_slice()).await?;
        Ok(())
    }

    /// Notes the arrival and returns the file as it is then.
    async fn note(&self, key: FileKey, head: &Head) -> Result<Option<File>, intake_postgres::Error> {
        let scope = self.database.begin(key.tenant_id).await?;
        ledger::arrive(&scope, key.file_id, &head.etag).await?;
        let file = ledger::file(&scope, key.file_id).await?;
        scope.commit().await?;
        Ok(file.filter(|file| file.key == key))
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
        retry("plan", || self.write_plan(file)).await?;
        let mut after = -1;
        loop {
            let page = retry("planned_chunks", || self.planned(file, after)).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = *last;
            let FileKey { tenant_id, file_id, .. } = file.key;
            let messages: Vec<_> =
                page.into_iter().map(|chunk_index| LoadChunk { tenant_id, file_id, chunk_index }).collect();
            self.chunks.send_all(&messages).await?;
        }
    }

    async fn write_plan(&self, file: &File) -> Result<(), intake_postgres::Error> {
        let count = chunk::count(file.size_bytes, self.chunk_bytes);
        let scope = self.database.begin(file.key.tenant_id).await?;
        if file.state == FileState::Uploaded {
            let chunks = (0..count).map(|index| chunk::range(file.size_bytes, self.chunk_bytes, index));
            ledger::plan(&scope, file.key.file_id, chunks).await?;
        }
        // a file without chunks is loaded already
        ledger::finish_staging(&scope, file.key.file_id).await?;
        scope.commit().await
    }

    async fn planned(&self, file: &File, after: i32) -> Result<Vec<i32>, intake_postgres::Error> {
        let scope = self.database.begin(file.key.tenant_id).await?;
        let page = ledger::planned_chunks(&scope, file.key.file_id, after, PAGE).await?;
        scope.commit().await?;
        Ok(page)
    }

    async fn refuse(&self, file: &File, refusal: &Refusal) -> Result<(), intake_postgres::Error> {
        tracing::warn!(code = refusal.code, "file refused");
        let scope = self.database.begin(file.key.tenant_id).await?;
        ledger::fail_file(&scope, file.key.file_id, refusal.code, &refusal.detail).await?;
        scope.commit().await
    }

    async fn next_promotion(&self, file: &File) -> Result<Option<PromoteFile>, intake_postgres::Error> {
        let FileKey { tenant_id, session_id, .. } = file.key;
        let scope = self.database.begin(tenant_id).await?;
        let next = ledger::next_promotion(&scope, session_id, file.dry_run).await?;
        scope.commit().await?;
        Ok(next.map(|file_id| PromoteFile { tenant_id, file_id }))
    }
}
