//! `intake ingest`: sends a folder of data files through the public API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use indicatif::ProgressBar;
use intake_local::Settings;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::sleep;
use uuid::Uuid;

use super::session::{rows_line, verdict};
use crate::api::{Api, FILES_PER_SESSION, Rows, Status};
use crate::data_files::{self, DataFile};
use crate::keys::KeyFile;
use crate::output::{Bar, Output, Verdict, grouped, size};
use crate::target::ApiOptions;
use crate::tenants_file;

/// Tenants that are sent side by side.
const TENANTS_AT_ONCE: usize = 8;

/// Uploads under way, over all tenants.
const UPLOADS_AT_ONCE: usize = 4;

/// A session that stands still for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(600);

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The folder with the files, named `DATASET_TENANT[_chunk_NNNN].ndjson`
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    api: ApiOptions,
    /// Check everything and promote nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until every session has ended
    #[arg(long)]
    wait: bool,
}

/// What to send.
pub struct Shipment {
    /// Each tenant's access and files.
    pub tenants: Vec<(Uuid, Api, Vec<DataFile>)>,
    /// Check everything and promote nothing.
    pub dry_run: bool,
    /// Wait until every session has ended.
    pub wait: bool,
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

/// Sends the folder.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let url = args.api.url(&settings).await;
    let files = files(&args.data_dir, args.api.tenant_id, output)?;
    let mut keys = KeyFile::open(&settings.state_dir)?;
    let found = find_keys(args, &files, &keys)?;
    let access = |(tenant, files)| -> anyhow::Result<_> { Ok((tenant, Api::new(&url, &found[&tenant].text)?, files)) };
    let tenants = files.into_iter().map(access).collect::<anyhow::Result<_>>()?;

    let summary = send(Shipment { tenants, dry_run: args.dry_run, wait: args.wait }, output).await;
    // So that `intake session` finds them without the folder.
    for session in summary.sessions.iter().filter(|session| session.upload_token.is_some()) {
        if let Some(Key { text, derived: true }) = found.get(&session.tenant_id) {
            keys.remember(session.tenant_id, text)?;
        }
    }
    if args.wait {
        output.say(&format!(
            "{} rows in {:.1} s, {} rows/s: {}",
            grouped(summary.rows),
            summary.seconds,
            grouped(summary.rows_per_second as u64),
            rows_line(&summary.total())
        ));
    }
    for Outcome { tenant_id, upload_token, rows, .. } in &summary.sessions {
        let Some(token) = upload_token else { continue };
        if !args.wait {
            output.say(&format!("cargo intake session {token} --tenant-id {tenant_id}"));
        } else if rows.rejected > 0 {
            output.say(&format!("cargo intake rejects {token} --tenant-id {tenant_id}"));
        }
    }
    output.result(&summary)?;
    Ok(summary.verdict())
}

/// The data files in a folder, of one tenant or of all.
fn files(dir: &Path, only: Option<Uuid>, output: &Output) -> anyhow::Result<BTreeMap<Uuid, Vec<DataFile>>> {
    let folder = data_files::find(dir)?;
    if !folder.ignored.is_empty() {
        output.say(&format!("note: not data files, ignored: {}", folder.ignored.join(", ")));
    }
    let mut tenants = folder.by_tenant();
    if let Some(tenant) = only {
        tenants.retain(|found, _| *found == tenant);
    }
    if tenants.is_empty() {
        let whose = only.map_or(String::new(), |tenant| format!(" of tenant {tenant}"));
        bail!(
            "no data files{whose} in {}, they are named <dataset>_<tenant id>[_chunk_NNNN].<ndjson|csv>[.gz]",
            dir.display()
        );
    }
    Ok(tenants)
}

/// A key, and whether it follows from the tenant's id.
struct Key {
    text: String,
    derived: bool,
}

fn find_keys(
    args: &Args,
    files: &BTreeMap<Uuid, Vec<DataFile>>,
    key_file: &KeyFile,
) -> anyhow::Result<BTreeMap<Uuid, Key>> {
    if let Some(key) = &args.api.api_key {
        let count = files.len();
        ensure!(count == 1, "an API key is one tenant's, but the files are of {count} tenants: give --tenant-id");
        return Ok(files.keys().map(|tenant| (*tenant, Key { text: key.clone(), derived: false })).collect());
    }
    let tenants_csv = args.data_dir.join("tenants.csv");
    let listed = if tenants_csv.exists() { tenants_file::read(&tenants_csv)? } else { Vec::new() };
    let find = |tenant: Uuid| {
        let noted = key_file.get(Some(tenant)).map(|key| Key { text: key.to_owned(), derived: false });
        let derived = || listed.iter().find(|known| known.id == tenant)?.derived_key();
        let key = noted.or_else(|| Some(Key { text: derived()?, derived: true }));
        key.map(|key| (tenant, key)).with_context(|| {
            let path = key_file.path().display();
            format!("no key of tenant {tenant}: give --api-key or INTAKE_API_KEY, or note the key in {path}")
        })
    };
    files.keys().copied().map(find).collect()
}

/// Sends everything, tenants side by side. One tenant's failure stops no other.
pub async fn send(shipment: Shipment, output: &Output) -> Summary {
    let started = Instant::now();
    let Shipment { tenants, dry_run, wait } = shipment;
    let slots = Semaphore::new(UPLOADS_AT_ONCE);
    let ship = |(id, api, files): (Uuid, Api, Vec<DataFile>)| {
        let slots = &slots;
        async move { Tenant { id, api, dry_run, wait, slots, output }.send(&files).await }
    };
    let outcomes: Vec<Vec<Outcome>> = stream::iter(tenants).map(ship).buffered(TENANTS_AT_ONCE).collect().await;
    Summary::new(outcomes.into_iter().flatten().collect(), started.elapsed())
}

struct Tenant<'a> {
    id: Uuid,
    api: Api,
    dry_run: bool,
    wait: bool,
    slots: &'a Semaphore,
    output: &'a Output,
}

impl Tenant<'_> {
    /// One session, or more of them one after another when there are too many files for one.
    async fn send(&self, files: &[DataFile]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let mut batches = files.chunks(FILES_PER_SESSION).peekable();
        while let Some(batch) = batches.next() {
            // The next session's rows may refer to this one's.
            let wait = self.wait || batches.peek().is_some();
            let outcome = self.session(batch, wait).await;
            let go_on = outcome.verdict != Verdict::Failed;
            outcomes.push(outcome);
            if !go_on {
                break;
            }
        }
        outcomes
    }

    async fn session(&self, files: &[DataFile], wait: bool) -> Outcome {
        let mut outcome = Outcome {
            tenant_id: self.id,
            upload_token: None,
            state: "awaiting_upload".to_owned(),
            rows: Rows::default(),
            error: None,
            read: 0,
            verdict: Verdict::Good,
        };
        let bytes = files.iter().map(|file| file.size_bytes).sum();
        let bar = self.output.bar(bytes, Bar::Bytes).with_prefix(self.id.to_string());
        if let Err(error) = self.run(files, wait, &bar, &mut outcome).await {
            self.say(&format!("error: {error:#}"));
            outcome.error = Some(format!("{error:#}"));
            outcome.verdict = Verdict::Failed;
        }
        bar.finish_and_clear();
        outcome
    }

    async fn run(
        &self,
        files: &[DataFile],
        wait: bool,
        bar: &ProgressBar,
        outcome: &mut Outcome,
    ) -> anyhow::Result<()> {
        let session = self.api.create_session(files, self.dry_run).await?;
        let token = &session.upload_token;
        outcome.upload_token = Some(token.clone());
        let bytes = files.iter().map(|file| file.size_bytes).sum();
        self.say(&format!("session {token}, {} files, {}", files.len(), size(bytes)));

        let upload = async |file: &DataFile| {
            let target = session.files.iter().find(|target| target.name == file.name);
            let target = target.with_context(|| format!("the server's answer lacks the file {}", file.name))?;
            self.api.upload(file, &target.upload, self.slots, |bytes| bar.inc(bytes)).await
        };
        try_join_all(files.iter().map(upload)).await?;
        outcome.state = "uploaded".to_owned();
        self.say("uploaded");
        if wait {
            let status = self.watch(token, bar).await?;
            for (file, cause) in status.files.iter().filter_map(|file| Some((file, file.error.as_ref()?))) {
                self.say(&format!("{}: {cause}", file.name));
            }
            self.say(&format!("{}, {} rows: {}", status.state, grouped(status.total_rows), rows_line(&status.rows)));
            outcome.verdict = verdict(&status);
            (outcome.state, outcome.rows, outcome.read) = (status.state, status.rows, status.total_rows);
        }
        Ok(())
    }

    /// Looks at the session until it has ended.
    async fn watch(&self, token: &str, bar: &ProgressBar) -> anyhow::Result<Status> {
        Bar::Chunks.dress(bar);
        let (mut seen, mut since) = (None, Instant::now());
        loop {
            let (status, pause) = self.api.status(token).await?;
            if status.terminal() {
                return Ok(status);
            }
            bar.set_length(status.total_chunks);
            bar.set_position(status.completed_chunks);
            bar.set_message(format!("{}, {} rows", status.state, grouped(status.total_rows)));
            let now = (status.state, status.completed_chunks, status.total_rows, status.rows.promoted);
            if seen.as_ref() != Some(&now) {
                if !self.output.interactive() {
                    let (state, completed, rows, _) = &now;
                    self.say(&format!("{state}, {completed}/{} chunks, {} rows", status.total_chunks, grouped(*rows)));
                }
                (seen, since) = (Some(now), Instant::now());
            }
            let minutes = STALLED_AFTER.as_secs() / 60;
            ensure!(since.elapsed() < STALLED_AFTER, "session {token} has not moved for {minutes} minutes");
            sleep(pause).await;
        }
    }

    fn say(&self, what: &str) {
        self.output.say(&format!("{}  {what}", self.id));
    }
}
