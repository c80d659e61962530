//! One file's slices, in order, each in its own transaction with its ledger row.

use bytes::BytesMut;
use intake_aws::messages::PromoteFile;
use intake_aws::{Objects, Queue};
use intake_domain::chunk::ChunkRange;
use intake_domain::promotion::Outcome;
use intake_domain::reject::{Code, RowError};
use intake_domain::state::FileState;
use intake_lambda::batch::{Delivery, Retry, describe};
use intake_postgres::ledger::{self, File, Reject, SliceCounts};
use intake_postgres::promotion::Promoter;
use intake_postgres::staged::{self, StagedRow};
use intake_postgres::{Database, Error, Scope, retry};
use std::time::{Duration, SystemTime};
use uuid::Uuid;

/// With less time than this left, the rest of a file is handed to another invocation.
const RESERVE: Duration = Duration::from_secs(60);

/// What the function works with.
pub(crate) struct Worker {
    pub(crate) database: Database,
    pub(crate) objects: Objects,
    pub(crate) promotions: Queue,
}

/// How a slice went.
enum Slice {
    Promoted,
    /// Someone else promoted it.
    NotStaged,
    /// PostgreSQL refuses its rows, and will again.
    Refused(String),
}

impl Worker {
    /// Handles one message. Run again it promotes nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        let Ok(message) = serde_json::from_str::<PromoteFile>(body) else {
            tracing::error!("message names no file, dropped");
            return Ok(());
        };
        match self.promote(message, delivery).await {
            Err(error) if delivery.is_last => {
                tracing::error!(error = describe(&*error), "file given up");
                let detail = "the file could not be promoted in five tries; what was promoted stays";
                self.give_up(message, "PROMOTION_FAILED", detail).await
            }
            done => done,
        }
    }

    #[tracing::instrument(skip_all, fields(tenant_id = %message.tenant_id, file_id = %message.file_id))]
    async fn promote(&self, message: PromoteFile, delivery: Delivery) -> Result<(), Retry> {
        let Some(file) = retry("file", || self.look_up(message)).await? else {
            tracing::error!("message names a file that is not in the ledger, dropped");
            return Ok(());
        };
        if file.state == FileState::Promoting {
            if file.dry_run {
                self.rehearse(&file).await?;
            } else if !self.promote_slices(&file, delivery).await? {
                tracing::info!("time is nearly up, the rest is handed on");
                self.promotions.send_all(&[message]).await?;
                return Ok(());
            }
        }
        self.go_on(&file).await
    }

    async fn look_up(&self, message: PromoteFile) -> Result<Option<File>, Error> {
        let scope = self.database.begin(message.tenant_id).await?;
        let file = ledger::file(&scope, message.file_id).await?;
        scope.commit().await?;
        Ok(file)
    }

    /// Promotes what is staged and ends the file; `false` when time ran out first.
    async fn promote_slices(&self, file: &File, delivery: Delivery) -> Result<bool, Retry> {
        let chunks = retry("staged_chunks", || self.staged_chunks(file)).await?;
        let mut promoter = Promoter::new(file.dataset);
        let mut coming = chunks.first().map(|(index, _)| self.fetch(file, *index));
        for (at, (index, range)) in chunks.iter().enumerate() {
            let Some(fetched) = coming.take() else { break };
            // the next object is on its way while this slice is written
            coming = chunks.get(at + 1).map(|(next, _)| self.fetch(file, *next));
            let rows = match fetched.await? {
                Ok(Some(object)) => Some(staged::read(object, file.key.tenant_id)?),
                Ok(None) => None,
                Err(error) => return Err(error.into()),
            };
            match self.promote_slice(file, &mut promoter, *index, *range, rows.as_deref()).await? {
                Slice::Promoted | Slice::NotStaged => {}
                Slice::Refused(state) => {
                    let detail = format!("PostgreSQL refused a row (SQLSTATE {state}); what was promoted stays");
                    retry("refuse", || self.fail(file, Some(*index), "PROMOTION_REFUSED", &detail)).await?;
                    return Ok(true);
                }
            }
            if delivery.deadline.duration_since(SystemTime::now()).unwrap_or_default() < RESERVE
                && at + 1 < chunks.len()
            {
                return Ok(false);
            }
        }
        retry("finish_file", || async {
            let scope = self.database.begin(file.key.tenant_id).await?;
            ledger::finish_file(&scope, file.key.file_id).await?;
            scope.commit().await
        })
        .await?;
        self.empty_staging(file, chunks.iter().map(|(index, _)| *index)).await;
        Ok(true)
    }

    async fn staged_chunks(&self, file: &File) -> Result<Vec<(i32, ChunkRange)>, Error> {
        let scope = self.database.begin(file.key.tenant_id).await?;
        let chunks = ledger::staged_chunks(&scope, file.key.file_id).await?;
        scope.commit().await?;
        Ok(chunks)
    }

    /// Begins to read a staged object.
    fn fetch(
        &self,
        file: &File,
        index: i32,
    ) -> tokio::task::JoinHandle<Result<Option<bytes::Bytes>, intake_aws::Error>> {
        let (objects, key) = (self.objects.clone(), file.key.staged(index));
        tokio::spawn(async move { objects.get(&key).await })
    }

    /// One slice; `rows` is `None` when its object is gone.
    async fn promote_slice(
        &self,
        file: &File,
        promoter: &mut Promoter,
        index: i32,
        range: ChunkRange,
        rows: Option<&[StagedRow]>,
    ) -> Result<Slice, Retry> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.try_slice(file, promoter, index, range, rows).await {
                Ok(slice) => return Ok(slice),
                Err(error) => error,
            };
            let Some(database) = error.downcast_ref::<Error>() else {
                return Err(error);
            };
            // a partition made meanwhile, or another writer of the same keys: it is there by now
            let again = database.is_transient() || database.is_wrong_partition() || database.is_unique_violation();
            if again && tries < 5 {
                tracing::info!(chunk_index = index, error = describe(&*error), "slice runs again");
                promoter.forget_leaves();
                tokio::time::sleep(Duration::from_millis(20 << tries)).await;
            } else if database.is_refusal() {
                tracing::error!(chunk_index = index, error = describe(&*error), "slice refused");
                return Ok(Slice::Refused(database.sql_state_code().unwrap_or_default().to_owned()));
            } else {
                return Err(error);
            }
        }
    }

    async fn try_slice(
        &self,
        file: &File,
        promoter: &mut Promoter,
        index: i32,
        range: ChunkRange,
        rows: Option<&[StagedRow]>,
    ) -> Result<Slice, Retry> {
        let mut scope = self.database.begin(file.key.tenant_id).await?;
        if !ledger::lock_staged_chunk(&scope, file.key.file_id, index).await? {
            scope.rollback().await?;
            return Ok(Slice::NotStaged);
        }
        let rows = rows.ok_or(Error::Corrupt("a staged chunk without its object"))?;
        let outcomes = promoter.apply(&mut scope, rows).await?;
        let (counts, rejects) = self.account(file, range, rows, &outcomes).await?;
        ledger::insert_rejects(&scope, file.key.file_id, index, &rejects).await?;
        ledger::promote_chunk(&scope, file.key.file_id, index, counts).await?;
        scope.commit().await?;
        let SliceCounts { inserted, updated, unchanged, rejected } = counts;
        tracing::info!(chunk_index = index, inserted, updated, unchanged, rejected, "slice promoted");
        Ok(Slice::Promoted)
    }

    /// Counts outcomes, and makes rejects of the rows that were refused.
    async fn account(
        &self,
        file: &File,
        range: ChunkRange,
        rows: &[StagedRow],
        outcomes: &[Outcome],
    ) -> Result<(SliceCounts, Vec<Reject>), intake_aws::Error> {
        let mut counts = SliceCounts::default();
        let mut refused = Vec::new();
        for (row, outcome) in rows.iter().zip(outcomes) {
            match outcome {
                Outcome::Inserted => counts.inserted += 1,
                Outcome::Updated => counts.updated += 1,
                Outcome::Unchanged => counts.unchanged += 1,
                Outcome::NaturalKeyTaken(owner) => {
                    counts.rejected += 1;
                    refused.push((row, owner));
                }
            }
        }
        let (Some((first, _)), Some((last, _))) = (refused.first(), refused.last()) else {
            return Ok((counts, Vec::new()));
        };
        // the lines themselves are in the file: from the first refused one to the last, within the chunk
        let (start, end) = (first.place.offset.max(range.start), last.place.offset + u64::from(last.place.length));
        let mut lines = BytesMut::new();
        let etag = file.object_etag.as_deref().unwrap_or_default();
        self.objects.read_range(&file.key.to_string(), etag, start, end, &mut lines).await?;
        let natural = file.dataset.natural_field().map_or("", |field| field.name);
        let rejects = refused.iter().map(|(row, owner)| {
            let at = (row.place.offset - start) as usize;
            let line = lines.get(at..at + row.place.length as usize).unwrap_or_default();
            let detail = format!("the {natural} belongs to {} {owner}", file.dataset.id_field().name);
            Reject {
                line: row.place.line,
                offset: row.place.offset,
                key: Some(row.id.to_string()),
                errors: vec![RowError::of_field(Code::NaturalKeyTaken, natural, detail)],
                record: String::from_utf8_lossy(line).into_owned(),
            }
        });
        Ok((counts, rejects.collect()))
    }

    /// A dry run: all open files of the session are promoted in one transaction, which is undone; only the counts and
    /// rejects are kept. So later files meet what earlier ones would have left, and the counts are those of a promotion.
    async fn rehearse(&self, file: &File) -> Result<(), Retry> {
        let mut scope = self.database.begin(file.key.tenant_id).await?;
        let open = ledger::open_files(&scope, file.key.session_id).await?;
        if open.iter().any(|(_, _, state)| *state != FileState::Promoting) {
            scope.rollback().await?;
            return Ok(());
        }
        let mut rehearsed = Vec::new();
        for (file_id, _, _) in &open {
            let Some(file) = ledger::file(&scope, *file_id).await? else { continue };
            let mut promoter = Promoter::new(file.dataset);
            let mut slices = Vec::new();
            for (index, range) in ledger::staged_chunks(&scope, *file_id).await? {
                let object = self.objects.get(&file.key.staged(index)).await?;
                let object = object.ok_or(Error::Corrupt("a staged chunk without its object"))?;
                let rows = staged::read(object, file.key.tenant_id)?;
                let outcomes = promoter.apply(&mut scope, &rows).await?;
                let (counts, rejects) = self.account(&file, range, &rows, &outcomes).await?;
                slices.push((index, counts, rejects));
            }
            rehearsed.push((file, slices));
        }
        scope.rollback().await?;
        let scope = self.database.begin(file.key.tenant_id).await?;
        for (file, slices) in &rehearsed {
            for (index, counts, rejects) in slices {
                if ledger::promote_chunk(&scope, file.key.file_id, *index, *counts).await? {
                    ledger::insert_rejects(&scope, file.key.file_id, *index, rejects).await?;
                }
            }
            ledger::finish_file(&scope, file.key.file_id).await?;
        }
        scope.commit().await?;
        for (file, slices) in &rehearsed {
            self.empty_staging(file, slices.iter().map(|(index, ..)| *index)).await;
        }
        Ok(())
    }

    /// Removes staged objects. What remains after an error is left to the bucket's lifecycle rule.
    async fn empty_staging(&self, file: &File, chunks: impl Iterator<Item = i32>) {
        let keys: Vec<_> = chunks.map(|index| file.key.staged(index)).collect();
        if let Err(error) = self.objects.delete(&keys).await {
            tracing::warn!(error = describe(&error), "staged objects left to the lifecycle rule");
        }
    }

    /// Gives the next file of the session its turn.
    async fn go_on(&self, file: &File) -> Result<(), Retry> {
        let next = retry("next_promotion", || async {
            let scope = self.database.begin(file.key.tenant_id).await?;
            let next = ledger::next_promotion(&scope, file.key.session_id, file.dry_run).await?;
            scope.commit().await?;
            Ok(next)
        })
        .await?;
        // the file itself is still open when another worker holds its last slices: that worker goes on
        let next = next.filter(|next: &Uuid| *next != file.key.file_id);
        let message = next.map(|file_id| PromoteFile { tenant_id: file.key.tenant_id, file_id });
        self.promotions.send_all(message.as_slice()).await?;
        Ok(())
    }

    async fn fail(&self, file: &File, chunk: Option<i32>, code: &str, detail: &str) -> Result<(), Error> {
        let scope: Scope<'_> = self.database.begin(file.key.tenant_id).await?;
        if let Some(index) = chunk {
            ledger::fail_chunk(&scope, file.key.file_id, index, code).await?;
        }
        ledger::fail_file(&scope, file.key.file_id, code, detail).await?;
        scope.commit().await
    }

    /// Ends the file, and lets the rest of the session go on.
    async fn give_up(&self, message: PromoteFile, code: &str, detail: &str) -> Result<(), Retry> {
        let Some(file) = retry("file", || self.look_up(message)).await? else {
            return Ok(());
        };
        retry("give_up", || self.fail(&file, None, code, detail)).await?;
        self.go_on(&file).await
    }
}
