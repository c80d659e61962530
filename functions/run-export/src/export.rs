//! One export, from its message to its end. Handled again at any point it ends in the same.

use crate::object::{Object, ObjectError, Told, Written};
use crate::write::{Ended, Sizes, Work, WriteError};
use intake_aws::messages::RunExport;
use intake_aws::{Objects, Queue};
use intake_domain::export::{Failure, Format, Shape};
use intake_lambda::batch::{Delivery, Retry, describe};
use intake_lambda::telemetry::milliseconds;
use intake_lambda::{fail_point, trace};
use intake_postgres::exports::{self, Claim, Export, Key, Reader, Snapshot};
use intake_postgres::{Database, Error, Scope};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// With less time than this left, the rest of a file is handed to another invocation.
const RESERVE: Duration = Duration::from_secs(60);

/// How many tries run out of time before the export is given up.
const MAX_TRIES: i32 = 12;

/// How often the books are written at least, and it is looked whether anybody wants the end.
const BOOKS: Duration = Duration::from_millis(300);

/// How long they are left alone after that, whatever happens.
const PAUSE: Duration = Duration::from_millis(200);

/// What the function works with.
pub(crate) struct Worker {
    /// What rows are read through: each reader has a connection of its own.
    pub(crate) database: Database,
    /// What the books are written through, while rows are read.
    pub(crate) books: Database,
    pub(crate) objects: Objects,
    pub(crate) exports: Queue,
    pub(crate) sizes: Sizes,
}

/// How a try ended.
enum Outcome {
    Ended(Ended),
    /// Somebody asked for the end of it, or another try has it in hand.
    Stopped,
}

impl Worker {
    /// Handles one message.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        let Some(message) = read_message(body) else { return Ok(()) };
        let Some(export) = self.find(message).await? else {
            tracing::error!("message names an export that is not in the books, dropped");
            return Ok(());
        };
        trace::adopt(export.order.trace);
        if export.state.is_terminal() {
            return self.drop_unwanted(message, &export).await;
        }
        let leader = Reader::begin(&self.database, message.tenant_id, None).await?;
        if !exports::hold(leader.scope(), message.export_id).await? {
            return Err("another invocation has the export in hand".into());
        }
        let claim = async |scope: &mut Scope<'_>| exports::claim(scope, message.export_id).await;
        let Some(claim) = self.books.run("claim_export", message.tenant_id, claim).await? else { return Ok(()) };
        fail_point!("run-export.claimed", message.tenant_id);
        self.run(&leader, message, &export, &claim, delivery.deadline).await?;
        Ok(leader.end().await?)
    }

    /// Gives an export up whose message failed in its last delivery.
    pub(crate) async fn give_up(&self, body: &str) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => {
                self.fail(message, Failure::ExportFailed, "the file could not be written in five tries").await
            }
            None => Ok(()),
        }
    }

    async fn find(&self, message: RunExport) -> Result<Option<Export>, Error> {
        let find = async |scope: &mut Scope<'_>| exports::find(scope, message.export_id).await;
        self.books.run("find_export", message.tenant_id, find).await
    }

    /// One try: from where the last one came to, if all is as it was, or from the first row.
    async fn run(
        &self,
        leader: &Reader<'_>,
        message: RunExport,
        export: &Export,
        claim: &Claim,
        deadline: SystemTime,
    ) -> Result<(), Retry> {
        let RunExport { tenant_id, export_id } = message;
        let (order, told) = (&export.order, Told::default());
        let shape = order.shape(tenant_id);
        let snapshot = leader.snapshot().await?;
        let resumed = self.resume(leader, message, export, claim, &snapshot, &told).await?;
        let (object, from, object_attempt) = match resumed {
            Some((object, from, attempt)) => (object, from, attempt),
            None => {
                if let Some(begun) = &claim.begun {
                    self.objects.abort_multipart(&shape.object_key(begun.attempt), &begun.upload_id).await?;
                }
                let begin = async |scope: &mut Scope<'_>| exports::begin_object(scope, export_id, claim.attempt).await;
                if !self.books.run("begin_object", tenant_id, begin).await? {
                    return Ok(());
                }
                let key = shape.object_key(claim.attempt);
                let object = Object::new(self.objects.clone(), key, self.sizes.parts, told.clone(), snapshot.xmin);
                (object, Key::first(), claim.attempt)
            }
        };
        let work = Work {
            order: Arc::new(order.clone()),
            tenant: tenant_id,
            leader,
            snapshot,
            database: &self.database,
            object,
            from,
            sizes: self.sizes,
            told: told.clone(),
            until: deadline.checked_sub(RESERVE).unwrap_or(SystemTime::UNIX_EPOCH),
        };
        let outcome = tokio::select! {
            ended = work.write() => ended.map(Outcome::Ended),
            stopped = self.keep_books(message, claim.attempt, &told) => stopped.map(|()| Outcome::Stopped).map_err(WriteError::from),
        };
        match outcome {
            Ok(Outcome::Ended(Ended::Written(written))) => {
                self.complete(message, export, claim.attempt, object_attempt, &written, &told).await
            }
            Ok(Outcome::Ended(Ended::OutOfTime)) => self.hand_on(message, export, claim.attempt, &told).await,
            Ok(Outcome::Stopped) => {
                tracing::info!("the export has ended, or another invocation has it in hand");
                let (now, key) = (self.find(message).await?, shape.object_key(object_attempt));
                // what is not in the books yet
                if now.as_ref().is_none_or(|now| now.unwanted(tenant_id).is_some()) {
                    self.drop_object(&key, told.now().upload_id.as_deref()).await?;
                } else if now.as_ref().is_some_and(|now| now.state.is_terminal())
                    && let Some(upload_id) = told.now().upload_id
                {
                    self.objects.abort_multipart(&key, &upload_id).await?;
                }
                match now {
                    Some(now) => self.drop_unwanted(message, &now).await,
                    None => Ok(()),
                }
            }
            Err(WriteError::Object(ObjectError::TooManyParts)) => {
                let detail = "the file has more than 10,000 parts; ask for fewer rows, or compress it";
                self.fail(message, Failure::TooLarge, detail).await
            }
            Err(error) => {
                // the next try goes on where this one came to
                self.record(message, claim.attempt, &told).await?;
                Err(error.into())
            }
        }
    }

    /// The object of an earlier try, with the row that comes next and the number of the try; `None` where there is none, or
    /// what is in it would be different by now.
    async fn resume(
        &self,
        leader: &Reader<'_>,
        message: RunExport,
        export: &Export,
        claim: &Claim,
        snapshot: &Snapshot,
        told: &Told,
    ) -> Result<Option<(Object, Key, i32)>, Retry> {
        let RunExport { tenant_id, export_id } = message;
        let order = &export.order;
        let (Some(begun), Some(resume)) = (&claim.begun, &claim.resume) else { return Ok(None) };
        if !is_resumable(order.format) || !leader.is_as_before(order, resume.key, resume.rows, resume.xmin).await? {
            tracing::info!("rows have changed since, the file is begun anew");
            return Ok(None);
        }
        let key = order.shape(tenant_id).object_key(begun.attempt);
        let mut object = Object::new(self.objects.clone(), key, self.sizes.parts, told.clone(), snapshot.xmin);
        let parts = async |scope: &mut Scope<'_>| exports::parts(scope, export_id).await;
        let recorded = self.books.run("export_parts", tenant_id, parts).await?;
        let Some(last) = object.resume(begun, resume, &recorded).await? else { return Ok(None) };
        let keep = async |scope: &mut Scope<'_>| exports::keep_parts(scope, export_id, last).await;
        self.books.run("keep_parts", tenant_id, keep).await?;
        tracing::info!(rows = resume.rows, parts = last, "goes on where another try came to");
        Ok(Some((object, resume.key, begun.attempt)))
    }

    /// Writes the books for as long as the export is this try's.
    async fn keep_books(&self, message: RunExport, attempt: i32, told: &Told) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = told.has_place() => {}
                () = tokio::time::sleep(BOOKS) => {}
            }
            if !self.record(message, attempt, told).await? {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn record(&self, message: RunExport, attempt: i32, told: &Told) -> Result<bool, Error> {
        let progress = told.now();
        let record = async |scope: &mut Scope<'_>| exports::record(scope, message.export_id, attempt, &progress).await;
        let is_ours = self.books.run("record_export", message.tenant_id, record).await?;
        told.is_written_down(&progress);
        if progress.resume.is_some() {
            fail_point!("run-export.recorded", message.tenant_id);
        }
        Ok(is_ours)
    }

    async fn complete(
        &self,
        message: RunExport,
        export: &Export,
        attempt: i32,
        object_attempt: i32,
        written: &Written,
        told: &Told,
    ) -> Result<(), Retry> {
        let RunExport { tenant_id, export_id } = message;
        fail_point!("run-export.written", tenant_id);
        let shape = export.order.shape(tenant_id);
        let manifest = manifest(export, &shape, written);
        let progress = told.now();
        let complete = async |scope: &mut Scope<'_>| {
            exports::record(scope, export_id, attempt, &progress).await?;
            exports::complete(scope, export_id, attempt, written.rows, written.bytes, &manifest).await
        };
        if !self.books.run("complete_export", tenant_id, complete).await? {
            tracing::info!("the export ended while its file was finished: the file is removed");
            self.objects.delete(&[shape.object_key(object_attempt)]).await?;
            return Ok(());
        }
        fail_point!("run-export.completed", tenant_id);
        let dataset = shape.source.name;
        metrics::counter!("ExportedRows", "Dataset" => dataset).increment(written.rows.unsigned_abs());
        let took = export.created_at.elapsed().unwrap_or_default();
        metrics::histogram!("ExportTime", "Dataset" => dataset).record(milliseconds(took));
        tracing::info!(rows = written.rows, size_bytes = written.bytes, attempt, "the file is there");
        Ok(())
    }

    /// Time is nearly up: another invocation goes on.
    async fn hand_on(&self, message: RunExport, export: &Export, attempt: i32, told: &Told) -> Result<(), Retry> {
        let order = &export.order;
        if !is_resumable(order.format) {
            let detail = "a Parquet file must be written within 14 minutes; ask for fewer rows at a time";
            return self.fail(message, Failure::TooSlow, detail).await;
        }
        // a next try could not tell whether these rows are still the same, and would begin anew
        if !exports::is_of_its_own(order.source, &order.filter) {
            let detail = "a file whose rows are chosen by other tables or by a text must be written within 14 minutes; ask for \
                fewer rows at a time";
            return self.fail(message, Failure::TooSlow, detail).await;
        }
        if attempt >= MAX_TRIES {
            let detail = "rows changed again and again before the file was written; ask for fewer rows at a time";
            return self.fail(message, Failure::TooSlow, detail).await;
        }
        if self.record(message, attempt, told).await? {
            tracing::info!("the rest is handed on");
            self.exports.send_all(&[message]).await?;
            fail_point!("run-export.handed-on", message.tenant_id);
        }
        Ok(())
    }

    async fn fail(&self, message: RunExport, failure: Failure, detail: &str) -> Result<(), Retry> {
        tracing::error!(code = failure.as_str(), "the export failed");
        let fail = async |scope: &mut Scope<'_>| exports::fail(scope, message.export_id, failure, detail).await;
        if let Some((key, upload_id)) = self.books.run("fail_export", message.tenant_id, fail).await? {
            self.drop_object(&key, upload_id.as_deref()).await?;
        }
        Ok(())
    }

    /// Drops what there is of an object that nobody wants.
    async fn drop_unwanted(&self, message: RunExport, export: &Export) -> Result<(), Retry> {
        if let Some((key, upload_id)) = export.unwanted(message.tenant_id) {
            self.drop_object(&key, upload_id.as_deref()).await?;
        }
        Ok(())
    }

    /// The parts first: once they are dropped no object comes of them any more, and where one has come of them, it is there.
    async fn drop_object(&self, key: &str, upload_id: Option<&str>) -> Result<(), Retry> {
        if let Some(upload_id) = upload_id {
            self.objects.abort_multipart(key, upload_id).await?;
        }
        Ok(self.objects.delete(&[key.to_owned()]).await?)
    }
}

/// Whether a file can be gone on with: the end of a Parquet file tells of all that is before it.
fn is_resumable(format: Format) -> bool {
    format != Format::Parquet
}

/// What is said of a file.
fn manifest(export: &Export, shape: &Shape, written: &Written) -> Value {
    let order = &export.order;
    let schema: Vec<_> = order
        .columns
        .iter()
        .map(|column| json!({"name": column.name, "type": column.kind.name(), "nullable": column.is_nullable}))
        .collect();
    json!({
        "file_name": shape.file_name(),
        "content_type": shape.content_type(),
        "format": order.format.as_str(),
        "compression": order.compression.as_str(),
        "dataset": order.source.name,
        "rows": written.rows,
        "bytes": written.bytes,
        "sha256": hex::encode(written.sha256),
        "order": order.source.order,
        "spreadsheet_safe": order.spreadsheet_safe && order.format == Format::Csv,
        "schema": schema,
    })
}

/// A message; one that cannot be read is logged and dropped.
fn read_message(body: &str) -> Option<RunExport> {
    let message: RunExport = serde_json::from_str(body)
        .inspect_err(|error| tracing::error!(error = describe(error), "message is not readable, dropped"))
        .ok()?;
    trace::about("tenant_id", message.tenant_id);
    trace::about("export_id", message.export_id);
    Some(message)
}
