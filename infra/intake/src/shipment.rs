//! Sends the files of many tenants: opens sessions or goes on with those that were interrupted, uploads, and follows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use reqwest::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::api::{Api, Declared, FILES_PER_SESSION, Refusal, Resumed, Rows};
use crate::commands::session::{end_lines, verdict};
use crate::data_files::{DataFile, LocalFile};
use crate::keys::KeyFile;
use crate::output::{Bar, Output, Verdict, grouped, size};
use crate::policy::Policy;
use crate::transfer::{self, Transfer};
use crate::uploads::{Held, Record, Uploads, Wanted};
use crate::watch;

/// Tenants that are sent side by side.
const TENANTS_AT_ONCE: usize = 8;

/// Uploads under way, over all tenants.
pub const UPLOADS_AT_ONCE: usize = 4;

/// What to send.
pub struct Shipment {
    /// Each tenant's files.
    pub tenants: Vec<Consignment>,
    /// How their rows are dealt with.
    pub policy: Policy,
    /// Declare each file's SHA-256.
    pub sha256: bool,
    /// Wait until every session has ended.
    pub wait: bool,
    /// Where it is noted what has not ended.
    pub notes: Notes,
}

/// A tenant's part of a shipment.
pub struct Consignment {
    /// Whose it is.
    pub tenant: Uuid,
    /// The tenant's access.
    pub api: Api,
    /// The files, in the order of dependency.
    pub files: Vec<DataFile>,
}

/// What is noted of uploads, and what use is made of it.
pub enum Notes {
    /// None: an interrupted upload is sent again from its start.
    Off,
    /// An interrupted upload goes on.
    Continue(Ledger),
    /// Uploads are noted, but an earlier one of the same files does not go on.
    Fresh(Ledger),
}

/// Where notes are kept.
pub struct Ledger {
    /// Of uploads.
    pub uploads: Uploads,
    /// Keys that follow from a tenant's id. They are noted when a session was opened with them, so that other commands
    /// find them without the folder.
    pub derived_keys: BTreeMap<Uuid, String>,
    /// Where the key file lies.
    pub state_dir: PathBuf,
}

impl Notes {
    fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Off => None,
            Self::Continue(ledger) | Self::Fresh(ledger) => Some(ledger),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Every session that was opened, and every tenant for whom none could be.
    pub sessions: Vec<Outcome>,
    /// Rows read.
    pub rows: u64,
    /// Rows refused.
    pub rejected: u64,
    /// From the first request to the last session's end.
    pub seconds: f64,
    /// Rows read a second.
    pub rows_per_second: f64,
    #[serde(skip)]
    verdict: Verdict,
}

/// What came of a session.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Whose it is.
    pub tenant_id: Uuid,
    /// What it is known by.
    pub upload_token: Option<String>,
    /// Whether an earlier command had opened it.
    pub continued: bool,
    /// Its state as last seen; `uploaded` when it was not waited for.
    pub state: String,
    /// What became of its rows.
    pub rows: Rows,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip)]
    read: u64,
    #[serde(skip)]
    verdict: Verdict,
}

impl Summary {
    fn new(sessions: Vec<Outcome>, elapsed: Duration) -> Self {
        let rows = sessions.iter().map(|session| session.read).sum();
        let rejected = sessions.iter().map(|session| session.rows.rejected).sum();
        let seconds = elapsed.as_secs_f64();
        // A tenant that failed outweighs another's rejects.
        let worst = sessions.iter().map(|session| session.verdict).max().unwrap_or(Verdict::Good);
        Self { sessions, rows, rejected, seconds, rows_per_second: (rows as f64 / seconds).round(), verdict: worst }
    }

    /// How it ended.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What became of all rows.
    pub fn total(&self) -> Rows {
        self.sessions.iter().fold(Rows::default(), |sum, session| sum + session.rows)
    }
}

/// Sends everything, tenants side by side. One tenant's failure stops no other.
pub async fn send(shipment: Shipment, output: &Output) -> Summary {
    let started = Instant::now();
    let Shipment { tenants, policy, sha256, wait, notes } = shipment;
    let slots = Semaphore::new(UPLOADS_AT_ONCE);
    let ship = |Consignment { tenant: id, api, files }| {
        let (slots, policy, notes) = (&slots, &policy, &notes);
        async move { Tenant { id, api, policy, sha256, wait, notes, slots, output }.send(&files).await }
    };
    let outcomes: Vec<Vec<Outcome>> = stream::iter(tenants).map(ship).buffered(TENANTS_AT_ONCE).collect().await;
    Summary::new(outcomes.into_iter().flatten().collect(), started.elapsed())
}

struct Tenant<'a> {
    id: Uuid,
    api: Api,
    policy: &'a Policy,
    sha256: bool,
    wait: bool,
    notes: &'a Notes,
    slots: &'a Semaphore,
    output: &'a Output,
}

/// A session that is there, be it new or an earlier one.
struct Opened {
    token: String,
    continued: bool,
    uploads: transfer::Uploads,
    held: Option<Held>,
}

impl Tenant<'_> {
    /// One session, or more of them one after another when there are too many files for one.
    async fn send(&self, files: &[DataFile]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut ended = Vec::new();
        if let Err(error) = self.tell_of_others(files) {
            self.say(&format!("note: {error:#}"));
        }
        let mut batches = files.chunks(FILES_PER_SESSION).peekable();
        while let Some(batch) = batches.next() {
            // The next session's rows may refer to this one's.
            let wait = self.wait || batches.peek().is_some();
            let (outcome, held) = self.session(batch, wait).await;
            let failed = outcome.verdict == Verdict::Failed;
            outcomes.push(outcome);
            if failed {
                self.forget(held);
                // What is noted of those before stays, so that the same command does not send them again.
                return outcomes;
            }
            ended.extend(held);
        }
        self.forget(ended);
        outcomes
    }

    /// Sends the files in one session. Answers its note, if it is of a session that has ended.
    async fn session(&self, files: &[DataFile], wait: bool) -> (Outcome, Option<Held>) {
        let mut outcome = Outcome {
            tenant_id: self.id,
            upload_token: None,
            continued: false,
            state: "awaiting_upload".to_owned(),
            rows: Rows::default(),
            error: None,
            read: 0,
            verdict: Verdict::Good,
        };
        let bytes = files.iter().map(|file| file.file.size_bytes).sum();
        let bar = self.output.bar(bytes, Bar::Bytes).with_prefix(self.id.to_string());
        let held = self.run(files, wait, &bar, &mut outcome).await.unwrap_or_else(|error| {
            self.say(&format!("error: {error:#}"));
            if let Some(token) = &outcome.upload_token {
                self.say(&self.way_on(token, files, is_over(&error)));
            }
            outcome.error = Some(format!("{error:#}"));
            outcome.verdict = Verdict::Failed;
            None
        });
        bar.finish_and_clear();
        (outcome, held)
    }

    async fn run(
        &self,
        files: &[DataFile],
        wait: bool,
        bar: &ProgressBar,
        outcome: &mut Outcome,
    ) -> anyhow::Result<Option<Held>> {
        let Opened { token, continued, uploads, held } = self.open(files, bar).await?;
        (outcome.upload_token, outcome.continued) = (Some(token.clone()), continued);
        let (missing, bytes) = to_send(&uploads, files.iter().map(|file| &file.file));
        bar.set_length(bytes);
        let transfer = Transfer::new(&self.api, &token, self.slots, uploads);
        let sent = |bytes| bar.inc(bytes);
        try_join_all(files.iter().map(|file| transfer.send(&file.file, &sent))).await?;
        outcome.state = "uploaded".to_owned();
        if missing > 0 {
            self.say("uploaded");
        }
        if !wait {
            held.map_or(Ok(()), Held::leave)?;
            return Ok(None);
        }
        let say = |line: &str| self.say(line);
        let status = watch::to_the_end(&self.api, &token, bar, self.output, &say).await?;
        end_lines(&status).iter().for_each(|line| self.say(line));
        outcome.verdict = verdict(&status);
        (outcome.state, outcome.rows, outcome.read) = (status.state, status.rows, status.total_rows);
        Ok(held)
    }

    async fn open(&self, files: &[DataFile], bar: &ProgressBar) -> anyhow::Result<Opened> {
        let earlier = match self.notes {
            Notes::Off => None,
            Notes::Continue(ledger) => self.go_on(ledger, files).await?,
            Notes::Fresh(ledger) => {
                self.leave_behind(ledger, files)?;
                None
            }
        };
        match earlier {
            Some(opened) => Ok(opened),
            None => self.create(files, bar).await,
        }
    }

    async fn create(&self, files: &[DataFile], bar: &ProgressBar) -> anyhow::Result<Opened> {
        let mut digests = Vec::new();
        if self.sha256 {
            self.say("computing SHA-256");
            for DataFile { file, .. } in files {
                let hashed = file.clone();
                digests.push(spawn_blocking(move || hashed.sha256()).await??);
                bar.inc(file.size_bytes);
            }
            bar.reset();
        }
        let declared: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(at, DataFile { dataset, file, .. })| Declared {
                name: &file.name,
                dataset: dataset.name(),
                size_bytes: file.size_bytes,
                sha256: digests.get(at).map(String::as_str),
            })
            .collect();
        let session = self.api.create_session(&declared, self.policy).await?;
        let token = session.upload_token;
        let held = match self.notes.ledger() {
            None => None,
            Some(ledger) => Some(self.note(ledger, &token, files)?),
        };
        let uploads: transfer::Uploads = session.files.into_iter().map(|file| (file.name, file.upload)).collect();
        let lacking = files.iter().find(|file| !uploads.contains_key(&file.file.name));
        if let Some(DataFile { file, .. }) = lacking {
            bail!("the server's answer lacks the file {}", file.name);
        }
        let bytes = files.iter().map(|file| file.file.size_bytes).sum();
        self.say(&format!("session {token}, {} files, {}", files.len(), size(bytes)));
        Ok(Opened { token, continued: false, uploads, held })
    }

    /// Notes a session that was opened.
    fn note(&self, ledger: &Ledger, token: &str, files: &[DataFile]) -> anyhow::Result<Held> {
        if let Some(key) = ledger.derived_keys.get(&self.id) {
            KeyFile::open(&ledger.state_dir)?.remember(self.id, key)?;
        }
        ledger.uploads.open(Record {
            upload_token: token.to_owned(),
            api_url: self.api.url().to_owned(),
            tenant_id: self.id,
            policy: self.policy.clone(),
            sha256: self.sha256,
            left: false,
            files: files.iter().map(|file| file.file.clone()).collect(),
        })
    }

    /// The upload of these files that was interrupted, if there is one and it can go on.
    async fn go_on(&self, Ledger { uploads, .. }: &Ledger, files: &[DataFile]) -> anyhow::Result<Option<Opened>> {
        for record in self.earlier(uploads, files)? {
            let token = &record.upload_token;
            let mut pairs = record.files.iter().zip(files);
            let changed = pairs.find(|(then, now)| **then != now.file).map(|(then, _)| then);
            // One that was not interrupted matters only while the server is at it, and with the same bytes.
            if record.left && (changed.is_some() || self.has_ended(token).await?) {
                uploads.forget(token)?;
                continue;
            }
            if let Some(Err(error)) = changed.map(LocalFile::ensure_unchanged) {
                bail!("an upload of these files was interrupted, and {error:#}; {}", ending(token));
            }
            let Some(held) = uploads.hold(token)? else { continue };
            match self.api.resume(token, &[]).await {
                Ok(resumed) => return self.continued(resumed, held, files).map(Some),
                Err(error) if is_over(&error) => {
                    self.say(&format!("the interrupted upload {token} cannot go on: {error:#}"));
                    held.forget()?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn continued(&self, resumed: Resumed, held: Held, files: &[DataFile]) -> anyhow::Result<Opened> {
        let token = held.record.upload_token.clone();
        for DataFile { file, .. } in files {
            let known = resumed.files.iter().any(|known| known.name == file.name);
            ensure!(known, "the server's answer lacks the file {}", file.name);
        }
        let chunks = resumed.chunks_queued;
        let missing = resumed.files.into_iter().filter_map(|file| Some((file.name, file.upload?)));
        let uploads: transfer::Uploads = missing.collect();
        let (count, bytes) = to_send(&uploads, files.iter().map(|file| &file.file));
        self.say(&going_on(&token, files.len(), count, bytes, chunks));
        Ok(Opened { token, continued: true, uploads, held: Some(held) })
    }

    /// Forgets earlier uploads of these files, and says so.
    fn leave_behind(&self, Ledger { uploads, .. }: &Ledger, files: &[DataFile]) -> anyhow::Result<()> {
        for Record { upload_token: token, left, .. } in self.earlier(uploads, files)? {
            uploads.forget(&token)?;
            if !left {
                self.say(&format!("note: session {token} is left as it is, `cargo intake cancel {token}` ends it"));
            }
        }
        Ok(())
    }

    /// Earlier uploads by the same command.
    fn earlier(&self, uploads: &Uploads, files: &[DataFile]) -> anyhow::Result<Vec<Record>> {
        let mut records = uploads.all()?;
        records.retain(|record| record.is_of(&self.wanted(), files.iter().map(|file| &file.file)));
        Ok(records)
    }

    /// Says which uploads of the tenant's, by other commands than this one, were interrupted.
    fn tell_of_others(&self, files: &[DataFile]) -> anyhow::Result<()> {
        let Some(Ledger { uploads, .. }) = self.notes.ledger() else { return Ok(()) };
        for record in uploads.all()? {
            let Record { upload_token: token, api_url, tenant_id, left, .. } = &record;
            let ours = (tenant_id, api_url.as_str()) == (&self.id, self.api.url()) && !left;
            let batch = |batch: &[DataFile]| record.is_of(&self.wanted(), batch.iter().map(|file| &file.file));
            // One that another process is at was not interrupted.
            if ours && !files.chunks(FILES_PER_SESSION).any(batch) && matches!(uploads.hold(token), Ok(Some(_))) {
                self.say(&format!(
                    "note: the upload {token} of {} files was interrupted: \
                     `cargo intake resume {token}` goes on with it, `cargo intake cancel {token}` ends it",
                    record.files.len()
                ));
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { api_url: self.api.url(), tenant_id: self.id, policy: self.policy, sha256: self.sha256 }
    }

    async fn has_ended(&self, token: &str) -> anyhow::Result<bool> {
        match self.api.status(token, Duration::ZERO).await {
            Ok((status, _)) => Ok(status.terminal()),
            Err(error) if is_over(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// What can be done about a session that was interrupted; one that is `over` is sent anew.
    fn way_on(&self, token: &str, files: &[DataFile], over: bool) -> String {
        if over {
            return format!("session {token} is over, the same command opens another one");
        }
        if files.iter().any(|file| file.file.ensure_unchanged().is_err()) {
            return ending(token);
        }
        match self.notes {
            Notes::Off => format!("session {token} was left as it is"),
            _ => format!("the same command goes on from here, and so does `cargo intake resume {token}`"),
        }
    }

    fn forget(&self, ended: impl IntoIterator<Item = Held>) {
        for held in ended {
            if let Err(error) = held.forget() {
                self.say(&format!("note: {error:#}"));
            }
        }
    }

    fn say(&self, what: &str) {
        self.output.say(&format!("{}  {what}", self.id));
    }
}

/// How many files are still to be sent, at least in part, and how many bytes.
pub fn to_send<'a>(uploads: &transfer::Uploads, files: impl IntoIterator<Item = &'a LocalFile>) -> (usize, u64) {
    let missing = files.into_iter().filter_map(|file| Some(uploads.get(&file.name)?.bytes(file.size_bytes)));
    missing.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes))
}

/// What is said of a session that goes on.
pub fn going_on(token: &str, files: usize, missing: usize, bytes: u64, chunks: u64) -> String {
    let uploads = match missing {
        0 => "everything has arrived".to_owned(),
        _ => format!("{} of {files} files have arrived, {} to send", files - missing, size(bytes)),
    };
    let retried =
        if chunks > 0 { format!(", {} failed chunks are tried again", grouped(chunks)) } else { String::new() };
    format!("session {token} goes on: {uploads}{retried}")
}

/// What can be done about a session whose files are no longer what was declared.
pub fn ending(token: &str) -> String {
    format!(
        "session {token} takes only what was declared: `cargo intake cancel {token}` ends it, \
         `cargo intake ingest … --fresh` sends the files as they are now"
    )
}

/// Whether the server knows no such session, or lets it not go on.
pub fn is_over(error: &anyhow::Error) -> bool {
    let over = [StatusCode::NOT_FOUND, StatusCode::GONE];
    error.downcast_ref::<Refusal>().is_some_and(|refusal| over.contains(&refusal.status()))
}

#[cfg(test)]
mod tests;
