//! Promotions that are undone: a dry run, and a file that has too many rejects to go in.
//!
//! Two connections work side by side. One applies the rows and is rolled back at the end; the other writes down what it
//! finds, slice by slice, and commits. So the counts and rejects are those of a promotion, later files meet what earlier
//! ones would have left, and memory does not grow with either.

use crate::account::{Source, account};
use crate::promote::{Progress, SliceError, TRIES, Worker, promoter, rows};
use intake_domain::failure::Failure;
use intake_domain::state::FileState;
use intake_lambda::batch::describe;
use intake_lambda::fail_point;
use intake_postgres::ledger::{self, File, SliceCounts};
use intake_postgres::promotion::{Rehearsed, Transactions};
use intake_postgres::{Error, Scope};
use std::time::Duration;

/// A promotion to be undone.
pub(crate) struct Rehearsal<'a> {
    worker: &'a Worker,
    file: &'a File,
    /// All open files of the session, and not the one file alone.
    is_dry_run: bool,
}

/// How the rehearsal of one file went.
enum Verdict {
    /// It would have been promoted.
    Promoted,
    /// It has too many rejects.
    Refused,
    /// Somebody asked for its end, or another worker has it.
    Stopped,
}

impl<'a> Rehearsal<'a> {
    /// A dry run of the session that `file` belongs to.
    pub(crate) fn of_session(worker: &'a Worker, file: &'a File) -> Self {
        Self { worker, file, is_dry_run: true }
    }

    /// The rehearsal of a file that was found to have too many rejects.
    pub(crate) fn of_file(worker: &'a Worker, file: &'a File) -> Self {
        Self { worker, file, is_dry_run: false }
    }

    /// Runs it. [`Progress::HandOn`] says that the one file would go in after all, and that nothing was written down.
    pub(crate) async fn run(self) -> Result<Progress, SliceError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_once().await {
                Err(error) if tries < TRIES && error.is_worth_another_try() => {
                    tracing::info!(error = describe(&error), "rehearsal runs again");
                    tokio::time::sleep(Duration::from_millis(20 << tries)).await;
                }
                done => return done,
            }
        }
    }

    async fn try_once(&self) -> Result<Progress, SliceError> {
        let tenant = self.file.key.tenant_id;
        let mut stage = self.worker.database.begin(tenant).await?;
        let books = self.worker.books.begin(tenant).await?;
        let Some(files) = self.files(&books).await? else {
            stage.rollback().await?;
            books.rollback().await?;
            return Ok(Progress::Stopped);
        };
        let mut rehearsed = Rehearsed::default();
        for file in &files {
            let verdict = self.rehearse(&mut stage, &books, file, &mut rehearsed).await?;
            let goes_in_after_all = matches!(verdict, Verdict::Promoted) && !self.is_dry_run;
            if goes_in_after_all || matches!(verdict, Verdict::Stopped) {
                stage.rollback().await?;
                books.rollback().await?;
                return Ok(if goes_in_after_all { Progress::HandOn } else { Progress::Stopped });
            }
        }
        stage.rollback().await?;
        fail_point!("promote-file.before-books", tenant);
        books.commit().await?;
        fail_point!("promote-file.after-books", tenant);
        Ok(Progress::Done)
    }

    /// The files to go through, in their turn; `None` when some are not staged yet.
    async fn files(&self, books: &Scope<'_>) -> Result<Option<Vec<File>>, Error> {
        if !self.is_dry_run {
            return Ok(Some(vec![self.file.clone()]));
        }
        let mut files = Vec::new();
        for open in ledger::open_files(books, self.file.key.session_id).await? {
            if open.state != FileState::Promoting {
                return Ok(None);
            }
            files.extend(ledger::file(books, open.file_id).await?);
        }
        Ok(Some(files))
    }

    /// `rehearsed` is where products stand after the files before this one.
    async fn rehearse(
        &self,
        stage: &mut Scope<'_>,
        books: &Scope<'_>,
        file: &File,
        rehearsed: &mut Rehearsed,
    ) -> Result<Verdict, SliceError> {
        let file_id = file.key.file_id;
        let mut promoter = promoter(file, Transactions::Rehearsal(rehearsed.clone()));
        let mut slices: Vec<(i32, SliceCounts)> = Vec::new();
        stage.mark().await?;
        for index in ledger::staged_chunks(books, file_id).await? {
            let is_wanted = ledger::file(books, file_id).await?.is_some_and(|file| !file.is_cancelled);
            let plan = ledger::lock_staged_chunk(books, file_id, index).await?;
            let Some(plan) = plan.filter(|_| is_wanted) else {
                return Ok(Verdict::Stopped);
            };
            let fetched = self.worker.fetch(file, index);
            let rows = rows(file, fetched).await?.ok_or(Error::Corrupt("a staged chunk without its object"))?;
            let applied = promoter.apply(stage, &rows).await?;
            let source = Source { objects: &self.worker.objects, file, index, plan: &plan };
            let (counts, rejects) = account(&source, &rows, &applied).await?;
            ledger::insert_rejects(books, file_id, index, &rejects).await?;
            slices.push((index, counts));
        }
        let (accepted, rejected) = ledger::rejected_so_far(books, file_id).await?;
        let found: i64 = slices.iter().map(|(_, counts)| i64::from(counts.rejected)).sum();
        let rejected = rejected + found.unsigned_abs();
        if !ledger::hold_file(books, file_id).await? {
            return Ok(Verdict::Stopped);
        }
        if file.policy.tolerance.allows(rejected, accepted) {
            for (index, counts) in slices {
                ledger::promote_chunk(books, file_id, index, counts).await?;
            }
            ledger::finish_file(books, file_id).await?;
            *rehearsed = promoter.into_rehearsed();
            return Ok(Verdict::Promoted);
        }
        // the files after it must not meet its rows
        stage.undo_to_mark().await?;
        for (index, counts) in slices {
            ledger::reject_in_chunk(books, file_id, index, counts.rejected).await?;
        }
        let detail = ledger::too_many_rejects(accepted, rejected, file.policy.tolerance);
        ledger::fail_file(books, file_id, Failure::TooManyRejects, &detail).await?;
        Ok(Verdict::Refused)
    }
}
