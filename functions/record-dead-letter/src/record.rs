//! From a dead letter to the ledger. Every step can be run again.

use crate::letter::Letter;
use intake_aws::messages::{DeliverWebhook, LoadChunk, PromoteFile, RefreshMetrics, RunExport};
use intake_domain::export;
use intake_domain::failure::Failure;
use intake_domain::object_key::FileKey;
use intake_domain::state::FileState;
use intake_lambda::batch::Retry;
use intake_lambda::lanes::Lanes;
use intake_lambda::turn::Turns;
use intake_lambda::{fail_point, trace};
use intake_postgres::ledger::{self, File};
use intake_postgres::webhooks::{self, Attempt, Loaded, Next};
use intake_postgres::{Database, Error, Scope, exports};
use tracing::Span;

/// What is known of every one of them.
const REASON: &str = "ended five times without an answer: out of memory, out of time, or a crash";

/// What the function works with.
pub(crate) struct Recorder {
    pub(crate) database: Database,
    pub(crate) chunks: Lanes,
    pub(crate) turns: Turns,
}

impl Recorder {
    /// Handles one dead letter. One of an unknown kind is an error, and so stays in its queue.
    pub(crate) async fn handle(&self, body: &str) -> Result<(), Retry> {
        let letter = Letter::read(body).ok_or("the dead letter is of no known kind")?;
        let kind = letter.kind();
        match letter {
            Letter::Upload(notification) => {
                for key in notification.keys().filter_map(FileKey::parse_encoded) {
                    self.upload(key).await?;
                }
            }
            Letter::Chunk(message) => self.chunk(message).await?,
            Letter::Promotion(message) => self.promotion(message).await?,
            Letter::Webhook(message) => self.webhook(message).await?,
            Letter::Metrics(message) => days(message),
            Letter::Export(message) => self.export(message).await?,
        }
        metrics::counter!("DeadLetters", "Kind" => kind).increment(1);
        Ok(())
    }

    async fn upload(&self, key: FileKey) -> Result<(), Retry> {
        trace::about("tenant_id", key.tenant_id);
        trace::about("file_id", key.file_id);
        tracing::error!("dead letter: a file was not planned");
        let detail = format!("planning the file {REASON}");
        let record = async |scope: &mut Scope<'_>| {
            let file = ledger::file(scope, key.file_id).await?.filter(|file| file.key == key);
            // past loading nothing is left to plan
            let waits = |file: &File| {
                matches!(file.state, FileState::AwaitingUpload | FileState::Uploaded | FileState::Loading)
            };
            if file.as_ref().is_some_and(waits) {
                ledger::fail_file(scope, key.file_id, Failure::DeadLetter, &detail).await?;
            }
            Ok(file)
        };
        let file = self.database.run("dead_upload", key.tenant_id, record).await?;
        self.go_on(file).await
    }

    async fn chunk(&self, message: LoadChunk) -> Result<(), Retry> {
        let LoadChunk { tenant_id, file_id, chunk_index } = message;
        trace::about("tenant_id", tenant_id);
        trace::about("file_id", file_id);
        Span::current().record("chunk_index", chunk_index);
        tracing::error!("dead letter: a chunk was not loaded");
        let detail = format!("loading chunk {chunk_index} {REASON}");
        let record = async |scope: &mut Scope<'_>| {
            ledger::fail_chunk(scope, file_id, chunk_index, Failure::DeadLetter, &detail).await
        };
        self.database.run("dead_chunk", tenant_id, record).await?;
        fail_point!("record-dead-letter.chunk-recorded", tenant_id);
        // a transaction of its own: of two last chunks that end at the same time, neither would see the other
        let finish = async |scope: &mut Scope<'_>| {
            ledger::finish_staging(scope, file_id).await?;
            Ok::<_, Error>((
                ledger::file(scope, file_id).await?,
                ledger::next_in_window(scope, file_id, chunk_index).await?,
            ))
        };
        let (file, next) = self.database.run("finish_staging", tenant_id, finish).await?;
        if let (Some(file), Some(chunk_index)) = (&file, next)
            && file.state == FileState::Loading
        {
            let message = LoadChunk { tenant_id, file_id, chunk_index };
            self.chunks.of(file.dataset).send_all(&[message]).await?;
        }
        self.go_on(file).await
    }

    async fn promotion(&self, message: PromoteFile) -> Result<(), Retry> {
        trace::about("tenant_id", message.tenant_id);
        trace::about("file_id", message.file_id);
        tracing::error!("dead letter: a file was not promoted");
        let detail = format!("promoting the file {REASON}; what was promoted stays");
        let record = async |scope: &mut Scope<'_>| {
            let file = ledger::file(scope, message.file_id).await?;
            if file.as_ref().is_some_and(|file| file.state == FileState::Promoting) {
                ledger::fail_file(scope, message.file_id, Failure::DeadLetter, &detail).await?;
            }
            Ok(file)
        };
        let file = self.database.run("dead_promotion", message.tenant_id, record).await?;
        self.go_on(file).await
    }

    async fn webhook(&self, message: DeliverWebhook) -> Result<(), Retry> {
        trace::about("tenant_id", message.tenant_id);
        trace::about("webhook_id", message.webhook_id);
        tracing::error!("dead letter: a webhook was not delivered");
        let record = async |scope: &mut Scope<'_>| {
            if let Loaded::Due(delivery) = webhooks::load(scope, message.webhook_id).await? {
                let error = Some(format!("calling {REASON}"));
                let attempt = Attempt { attempt: delivery.attempt, elapsed_ms: 0, status: None, error };
                webhooks::record_attempt(scope, message.webhook_id, &attempt, Next::Failed).await?;
            }
            Ok(())
        };
        Ok(self.database.run("dead_webhook", message.tenant_id, record).await?)
    }

    /// One that another delivery works on is left to it: the letter comes again.
    async fn export(&self, message: RunExport) -> Result<(), Retry> {
        trace::about("tenant_id", message.tenant_id);
        trace::about("export_id", message.export_id);
        tracing::error!("dead letter: an export was not written");
        let detail = format!("writing the file {REASON}");
        let record = async |scope: &mut Scope<'_>| {
            let is_free = exports::hold(scope, message.export_id).await?;
            if is_free {
                exports::fail(scope, message.export_id, export::Failure::DeadLetter, &detail).await?;
            }
            Ok(is_free)
        };
        let is_recorded = self.database.run("dead_export", message.tenant_id, record).await?;
        if is_recorded { Ok(()) } else { Err("another delivery has the export in hand".into()) }
    }

    /// Lets the rest of the session go on.
    async fn go_on(&self, file: Option<File>) -> Result<(), Retry> {
        let Some(file) = file else {
            tracing::warn!("dead letter names what is not in the ledger");
            return Ok(());
        };
        trace::follow(&file);
        fail_point!("record-dead-letter.recorded", file.key.tenant_id);
        if file.is_cancelled {
            self.turns.end_cancelled(&self.database, &file).await?;
        } else {
            self.turns.wake(&self.database, &file).await?;
        }
        fail_point!("record-dead-letter.woken", file.key.tenant_id);
        Ok(())
    }
}

/// The days are still noted, and `maintain` sends for them again.
fn days(message: RefreshMetrics) {
    trace::about("tenant_id", message.tenant_id);
    tracing::error!("dead letter: days were not counted");
}
