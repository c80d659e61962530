//! One file's slices, in order, each in its own transaction with its ledger row; or, where all or nothing of it goes in,
//! all of them in one.

use crate::account::{Source, account};
use crate::rehearsal::Rehearsal;
use bytes::Bytes;
use intake_aws::messages::{PromoteFile, RefreshMetrics};
use intake_aws::{Error as AwsError, Objects, Queue};
use intake_domain::failure::Failure;
use intake_domain::format::Compression;
use intake_domain::state::FileState;
use intake_domain::tolerance::Tolerance;
use intake_lambda::batch::{Delivery, Retry, describe};
use intake_lambda::lanes::Lanes;
use intake_lambda::telemetry::milliseconds;
use intake_lambda::turn::Turns;
use intake_lambda::{fail_point, telemetry, trace};
use intake_postgres::ledger::{self, File, SliceCounts};
use intake_postgres::promotion::{Promoter, Transactions, WrongPrices};
use intake_postgres::staged::{self, StagedRow};
use intake_postgres::{Database, Error, Scope, metrics as sales, statistics};
use std::time::{Duration, Instant, SystemTime};
use tokio::task::JoinHandle;

/// With less time than this left, the rest of a file is handed to another invocation.
const RESERVE: Duration = Duration::from_secs(60);

/// After so long the rest of a file goes to the end of its queue, so that other files have their turn.
const TURN: Duration = Duration::from_secs(10);

/// How often a slice is tried that met another writer or a new partition.
pub(crate) const TRIES: u32 = 5;

/// What the function works with.
pub(crate) struct Worker {
    pub(crate) database: Database,
    /// A second connection, opened when a rehearsal needs it: it keeps what the first one undoes.
    pub(crate) books: Database,
    pub(crate) objects: Objects,
    pub(crate) promotions: Lanes,
    /// Where it is told that days are to be counted anew.
    pub(crate) metrics: Queue,
    pub(crate) turns: Turns,
}

/// How promotion went.
pub(crate) enum Progress {
    /// Nothing is left to do.
    Done,
    /// Others want their turn, or time is nearly up.
    HandOn,
    /// Somebody asked for the end of it, or another worker has it.
    Stopped,
    /// The file cannot go on.
    Refused(Failure, String),
}

/// Why a slice was not promoted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SliceError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error(transparent)]
    Objects(#[from] AwsError),
}

impl SliceError {
    /// What ends the file, where trying again cannot help.
    fn verdict(self) -> Result<Progress, Self> {
        match self {
            Self::Objects(AwsError::ObjectReplaced) => {
                let detail =
                    "another object lies in the file's place, so refused rows cannot be shown; what was promoted stays";
                Ok(Progress::Refused(Failure::ObjectReplaced, detail.to_owned()))
            }
            Self::Database(error) if error.is_refusal() => {
                tracing::error!(error = describe(&error), "slice refused");
                let state = error.sql_state_code().unwrap_or_default();
                let detail = format!("PostgreSQL refused a row (SQLSTATE {state}); what was promoted stays");
                Ok(Progress::Refused(Failure::PromotionRefused, detail))
            }
            other => Err(other),
        }
    }

    /// Whether the same slice may succeed when it is run again at once: a partition was made or archived meanwhile, or another
    /// writer took the same keys, and all that is seen by now.
    pub(crate) fn is_worth_another_try(&self) -> bool {
        matches!(self, Self::Database(error)
            if error.is_transient() || error.is_wrong_partition() || error.is_gone() || error.is_unique_violation())
    }
}

/// A file and what its slices have in common.
struct Slices<'a> {
    file: &'a File,
    promoter: Promoter,
}

impl Worker {
    /// Handles one message. Run again it promotes nothing twice, and sends again what may not have been sent.
    pub(crate) async fn handle(&self, body: &str, delivery: Delivery) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.promote(message, delivery).await,
            None => Ok(()),
        }
    }

    async fn promote(&self, message: PromoteFile, delivery: Delivery) -> Result<(), Retry> {
        trace::about("tenant_id", message.tenant_id);
        trace::about("file_id", message.file_id);
        let Some(file) = self.look_up(message).await? else {
            tracing::error!("message names a file that is not in the ledger, dropped");
            return Ok(());
        };
        trace::follow(&file);
        if file.is_cancelled && !file.state.is_terminal() {
            return self.end_cancelled(&file).await;
        }
        if file.state != FileState::Promoting {
            // a message delivered twice wakes nobody twice; one that is tried again may not have woken anybody
            if file.state.is_terminal() && delivery.is_retry {
                self.empty_staging_of_all(&file).await?;
                self.send_for_touched_days(&file).await?;
                self.turns.wake(&self.database, &file).await?;
            }
            return Ok(());
        }
        let progress = if file.dry_run {
            Rehearsal::of_session(self, &file).run().await
        } else if file.policy.tolerance == Tolerance::Any {
            self.promote_slices(&file, delivery).await
        } else {
            self.promote_whole(&file).await
        };
        match progress.or_else(SliceError::verdict)? {
            Progress::Done => {
                measure_file(&file);
                fail_point!("promote-file.after-end", message.tenant_id);
                self.empty_staging_of_all(&file).await?;
            }
            Progress::HandOn => {
                tracing::info!("the rest is handed on");
                self.promotions.of(file.dataset).send_all(&[message]).await?;
                fail_point!("promote-file.after-hand-on", message.tenant_id);
                return Ok(());
            }
            Progress::Stopped => match self.look_up(message).await? {
                // whoever ended it may have died over what follows
                Some(now) if now.state.is_terminal() => self.empty_staging_of_all(&now).await?,
                Some(now) if now.is_cancelled => return self.end_cancelled(&now).await,
                _ => return Ok(()),
            },
            Progress::Refused(failure, detail) => {
                tracing::error!(code = failure.as_str(), "file refused");
                self.fail(&file, failure, &detail).await?;
                fail_point!("promote-file.after-refuse", message.tenant_id);
            }
        }
        self.send_for_touched_days(&file).await?;
        self.turns.wake(&self.database, &file).await?;
        fail_point!("promote-file.after-wake", message.tenant_id);
        Ok(())
    }

    /// Ends a file that somebody asked for the end of; what was promoted of it stays.
    async fn end_cancelled(&self, file: &File) -> Result<(), Retry> {
        self.send_for_touched_days(file).await?;
        Ok(self.turns.end_cancelled(&self.database, file).await?)
    }

    /// Has the days counted anew whose sales the tenant's promotions have touched, if there are any.
    async fn send_for_touched_days(&self, file: &File) -> Result<(), Retry> {
        let tenant_id = file.key.tenant_id;
        let is_touched = async |scope: &mut Scope<'_>| sales::is_touched(scope, 0).await;
        if self.database.run("is_touched", tenant_id, is_touched).await? {
            self.metrics.send_all(&[RefreshMetrics { tenant_id }]).await?;
        }
        Ok(())
    }

    pub(crate) async fn look_up(&self, message: PromoteFile) -> Result<Option<File>, Error> {
        let look_up = async |scope: &mut Scope<'_>| ledger::file(scope, message.file_id).await;
        self.database.run("file", message.tenant_id, look_up).await
    }

    /// Promotes what is staged, each slice for itself.
    async fn promote_slices(&self, file: &File, delivery: Delivery) -> Result<Progress, SliceError> {
        let began = Instant::now();
        let chunks = self.staged_chunks(file).await?;
        let mut slices = Slices { file, promoter: promoter(file, Transactions::OneASlice) };
        let mut coming = chunks.first().map(|index| self.fetch(file, *index));
        for (at, index) in chunks.iter().enumerate() {
            let Some(fetched) = coming.take() else { break };
            // the next object is on its way while this slice is written
            coming = chunks.get(at + 1).map(|next| self.fetch(file, *next));
            let rows = rows(file, fetched).await?;
            if !self.promote_slice(&mut slices, *index, rows.as_deref()).await? {
                return Ok(Progress::Stopped);
            }
            let is_last = at + 1 == chunks.len();
            let left = delivery.deadline.duration_since(SystemTime::now()).unwrap_or_default();
            let is_over = left < RESERVE || began.elapsed() > TURN;
            self.learn(file, &mut slices.promoter, is_last || is_over).await;
            if is_over && !is_last {
                return Ok(Progress::HandOn);
            }
        }
        fail_point!("promote-file.before-end", file.key.tenant_id);
        let finish = async |scope: &mut Scope<'_>| ledger::finish_file(scope, file.key.file_id).await;
        // another worker has ended the file, or holds its last slice and will
        let is_done = self.database.run("finish_file", file.key.tenant_id, finish).await?;
        Ok(if is_done { Progress::Done } else { Progress::Stopped })
    }

    /// Tells the planner of what was put in. What follows of the tenant's files is found by it, and nothing else depends on it.
    async fn learn(&self, file: &File, promoter: &mut Promoter, is_end: bool) {
        let Some(grown) = promoter.grown(is_end) else { return };
        let learn = async |scope: &mut Scope<'_>| statistics::learn(scope, grown).await;
        match self.database.run("learn", file.key.tenant_id, learn).await {
            Ok(0) => {}
            Ok(partitions) => tracing::info!(partitions, "the planner has heard of the tenant's rows"),
            Err(error) => tracing::warn!(error = describe(&error), "the planner may not know the tenant's rows"),
        }
    }

    async fn staged_chunks(&self, file: &File) -> Result<Vec<i32>, Error> {
        let staged = async |scope: &mut Scope<'_>| ledger::staged_chunks(scope, file.key.file_id).await;
        self.database.run("staged_chunks", file.key.tenant_id, staged).await
    }

    /// Begins to read a staged object.
    pub(crate) fn fetch(&self, file: &File, index: i32) -> Fetch {
        let (objects, key) = (self.objects.clone(), file.key.staged(index));
        tokio::spawn(async move { objects.get(&key).await })
    }

    /// One slice; `rows` is `None` when its object is gone. Returns whether the file is still to be promoted.
    async fn promote_slice(
        &self,
        slices: &mut Slices<'_>,
        index: i32,
        rows: Option<&[StagedRow]>,
    ) -> Result<bool, SliceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_slice(slices, index, rows).await {
                Err(error) if tries < TRIES && error.is_worth_another_try() => {
                    tracing::info!(chunk_index = index, error = describe(&error), "slice runs again");
                    slices.promoter.forget_leaves();
                    tokio::time::sleep(Duration::from_millis(20 << tries)).await;
                }
                done => return done,
            }
        }
    }

    async fn try_slice(
        &self,
        slices: &mut Slices<'_>,
        index: i32,
        rows: Option<&[StagedRow]>,
    ) -> Result<bool, SliceError> {
        let (tenant, file_id) = (slices.file.key.tenant_id, slices.file.key.file_id);
        let began = Instant::now();
        let mut scope = self.database.begin(tenant).await?;
        if !ledger::hold_file(&scope, file_id).await? {
            scope.rollback().await?;
            return Ok(false);
        }
        let Some(plan) = ledger::lock_staged_chunk(&scope, file_id, index).await? else {
            scope.rollback().await?;
            return Ok(true);
        };
        let rows = rows.ok_or(Error::Corrupt("a staged chunk without its object"))?;
        let applied = slices.promoter.apply(&mut scope, rows).await?;
        let source = Source { objects: &self.objects, file: slices.file, index, plan: &plan };
        let (counts, rejects) = account(&source, rows, &applied).await?;
        ledger::insert_rejects(&scope, file_id, index, &rejects).await?;
        ledger::promote_chunk(&scope, file_id, index, counts).await?;
        fail_point!("promote-file.before-commit", tenant);
        scope.commit().await?;
        fail_point!("promote-file.after-commit", tenant);
        measure_prices(applied.prices);
        measure_slice(slices.file, index, counts, began.elapsed());
        Ok(true)
    }

    /// Promotes all of a file or nothing, because only so many of its rows may be refused. Where too many are, they are
    /// found once more in a rehearsal that keeps them.
    async fn promote_whole(&self, file: &File) -> Result<Progress, SliceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_whole(file).await {
                Ok(Some(progress)) => return Ok(progress),
                Ok(None) => match Rehearsal::of_file(self, file).run().await? {
                    // what was refused before is no longer: it has its references by now, or its key is free
                    Progress::HandOn if tries < TRIES => {}
                    progress => return Ok(progress),
                },
                Err(error) if tries < TRIES && error.is_worth_another_try() => {
                    tracing::info!(error = describe(&error), "file runs again");
                    tokio::time::sleep(Duration::from_millis(20 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One try, in one transaction; `None` when more rows are refused than may be.
    async fn try_whole(&self, file: &File) -> Result<Option<Progress>, SliceError> {
        let (tenant, file_id) = (file.key.tenant_id, file.key.file_id);
        let mut promoter = promoter(file, Transactions::OneAFile);
        let mut scope = self.database.begin(tenant).await?;
        let chunks = ledger::staged_chunks(&scope, file_id).await?;
        let mut promoted = Vec::with_capacity(chunks.len());
        for index in chunks {
            let began = Instant::now();
            // the file itself is held at the end alone: somebody may ask for its end meanwhile
            let is_wanted = ledger::file(&scope, file_id).await?.is_some_and(|file| !file.is_cancelled);
            let plan = ledger::lock_staged_chunk(&scope, file_id, index).await?;
            let Some(plan) = plan.filter(|_| is_wanted) else {
                scope.rollback().await?;
                return Ok(Some(Progress::Stopped));
            };
            let rows = rows(file, self.fetch(file, index)).await?;
            let rows = rows.ok_or(Error::Corrupt("a staged chunk without its object"))?;
            let applied = promoter.apply(&mut scope, &rows).await?;
            let source = Source { objects: &self.objects, file, index, plan: &plan };
            let (counts, rejects) = account(&source, &rows, &applied).await?;
            ledger::insert_rejects(&scope, file_id, index, &rejects).await?;
            ledger::promote_chunk(&scope, file_id, index, counts).await?;
            promoted.push((index, counts, began.elapsed(), applied.prices));
        }
        let (accepted, rejected) = ledger::rejected_so_far(&scope, file_id).await?;
        if !file.policy.tolerance.allows(rejected, accepted) {
            scope.rollback().await?;
            return Ok(None);
        }
        if !ledger::hold_file(&scope, file_id).await? || !ledger::finish_file(&scope, file_id).await? {
            scope.rollback().await?;
            return Ok(Some(Progress::Stopped));
        }
        fail_point!("promote-file.before-whole", tenant);
        scope.commit().await?;
        fail_point!("promote-file.after-whole", tenant);
        self.learn(file, &mut promoter, true).await;
        for (index, counts, time, prices) in promoted {
            measure_prices(prices);
            measure_slice(file, index, counts, time);
        }
        Ok(Some(Progress::Done))
    }

    /// Removes the objects of the chunks of all that has ended with the file: a dry run's files end together.
    async fn empty_staging_of_all(&self, file: &File) -> Result<(), Error> {
        let ended = async |scope: &mut Scope<'_>| {
            let mut ended = Vec::new();
            for other in ledger::files_of_session(scope, file.key.session_id).await? {
                ended.extend(ledger::file(scope, other.file_id).await?);
            }
            Ok(ended)
        };
        let ended = match file.dry_run {
            true => self.database.run("files_of_session", file.key.tenant_id, ended).await?,
            false => vec![file.clone()],
        };
        for file in &ended {
            self.empty_staging(file).await;
        }
        Ok(())
    }

    /// Removes the objects of a completed file's chunks. What remains after an error is left to the bucket's lifecycle
    /// rule.
    async fn empty_staging(&self, file: &File) {
        let chunks = async |scope: &mut Scope<'_>| {
            let now = ledger::file(scope, file.key.file_id).await?;
            // a file that failed may be resumed, and then needs them
            let is_completed =
                now.is_some_and(|now| matches!(now.state, FileState::Completed | FileState::CompletedWithErrors));
            if is_completed { ledger::ranges_of_chunks(scope, file.key.file_id).await } else { Ok(Vec::new()) }
        };
        let emptied = async {
            let ranges = self.database.run("ranges_of_chunks", file.key.tenant_id, chunks).await?;
            let numbered = || (0_i32..).zip(ranges.iter().copied());
            let mut keys: Vec<_> = numbered().map(|(index, _)| file.key.staged(index)).collect();
            if file.format.compression != Compression::None {
                keys.extend(numbered().map(|(index, range)| file.piece(index, range)));
            }
            Ok::<_, SliceError>(self.objects.delete(&keys).await?)
        };
        if let Err(error) = emptied.await {
            tracing::warn!(error = describe(&error), "objects of chunks left to the lifecycle rule");
        }
    }

    async fn fail(&self, file: &File, failure: Failure, detail: &str) -> Result<(), Error> {
        let fail = async |scope: &mut Scope<'_>| ledger::fail_file(scope, file.key.file_id, failure, detail).await;
        self.database.run("fail_file", file.key.tenant_id, fail).await
    }

    /// Ends a file that could not be promoted, and lets the rest of the session go on.
    pub(crate) async fn give_up(&self, body: &str) -> Result<(), Retry> {
        let Some(message) = read_message(body) else {
            return Ok(());
        };
        let Some(file) = self.look_up(message).await? else {
            return Ok(());
        };
        let detail = "the file could not be promoted in five tries; what was promoted stays";
        self.fail(&file, Failure::PromotionFailed, detail).await?;
        fail_point!("promote-file.after-give-up", message.tenant_id);
        self.send_for_touched_days(&file).await?;
        Ok(self.turns.wake(&self.database, &file).await?)
    }
}

/// What puts the slices of a file into place.
pub(crate) fn promoter(file: &File, transactions: Transactions) -> Promoter {
    Promoter::new(file.dataset, file.key.file_id, file.policy.reject_missing_references, transactions)
}

/// A staged object on its way.
pub(crate) type Fetch = JoinHandle<Result<Option<Bytes>, AwsError>>;

/// The rows of a staged object; `None` when it is gone.
pub(crate) async fn rows(file: &File, fetched: Fetch) -> Result<Option<Vec<StagedRow>>, SliceError> {
    let object = fetched.await.map_err(|_| Error::Corrupt("a read that was given up"))??;
    Ok(object.map(|object| staged::read(object, file.key.tenant_id)).transpose()?)
}

/// Tells of a slice that is in.
fn measure_slice(file: &File, chunk_index: i32, counts: SliceCounts, time: Duration) {
    let SliceCounts { inserted, updated, unchanged, rejected, dangling } = counts;
    tracing::info!(chunk_index, inserted, updated, unchanged, rejected, dangling, "slice promoted");
    let count = |rows: i32| u64::try_from(rows).unwrap_or_default();
    let dataset = file.dataset.name;
    metrics::counter!("PromotedRows", "Dataset" => dataset).increment(count(inserted + updated + unchanged));
    metrics::counter!("RejectedRows", "Dataset" => dataset).increment(count(rejected));
    metrics::histogram!("ChunkPromotionTime", "Dataset" => dataset).record(milliseconds(time));
    // one invocation may promote any number of them
    telemetry::flush();
}

/// Tells of prices of a slice that is in.
fn measure_prices(WrongPrices { suspect, held }: WrongPrices) {
    if suspect > 0 {
        metrics::counter!("PriceAnomalies").increment(suspect.into());
    }
    if held > 0 {
        metrics::counter!("PricesHeld").increment(held.into());
    }
}

/// Tells how long a file took from its arrival to its end.
fn measure_file(file: &File) {
    let took = file.uploaded_at.and_then(|at| SystemTime::now().duration_since(at).ok()).filter(|_| !file.dry_run);
    if let Some(took) = took {
        tracing::info!(elapsed_ms = took.as_millis(), "file promoted");
        metrics::histogram!("FileTime", "Dataset" => file.dataset.name).record(milliseconds(took));
    }
}

fn read_message(body: &str) -> Option<PromoteFile> {
    let message = serde_json::from_str(body).ok();
    if message.is_none() {
        tracing::error!("message names no file, dropped");
    }
    message
}
