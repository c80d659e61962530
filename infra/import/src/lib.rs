//! Takes over the predecessor's database: its rows become files, the files go through the public API like any shop's, and
//! then both sides are held against each other.
//!
//! All is read first, in one snapshot, into a folder; what is there goes on from where it stopped, tenant by tenant. Nothing is
//! written past the API but the tenants themselves and their keys, which only the database's owner can make.

mod account;
mod admission;
pub mod command;
mod folder;
pub mod predecessor;
mod read;
mod report;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::predecessor::{Location, Names, Source, Table, Tls};
use anyhow::{Context, bail};
use futures_util::{StreamExt, stream};
use intake_postgres::Database;
use uuid::Uuid;

use crate::account::Rejected;
use crate::admission::Admission;
use crate::folder::{Folder, Import, Imported};
pub use crate::report::{Report, TenantReport};
use intake::api::Api;
use intake::data_files::{DataFile, Dataset};
use intake::output::{Output, Verdict, grouped};
use intake::policy::{OnMissingReference, Policy};
use intake::shipment::{Consignment, Ledger, Notes, Shipment, send};
use intake::uploads::Uploads;

/// Tenants that are sent side by side.
const TENANTS_AT_ONCE: usize = 4;

/// What is imported, from where to where.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The predecessor's database.
    pub location: Location,
    /// How the connection to it is encrypted.
    pub tls: Tls,
    /// Its tables.
    pub names: Names,
    /// Only these tenants; all, if none is named.
    pub tenants: Vec<Uuid>,
    /// The API, without a slash at its end.
    pub api_url: String,
    /// Intake's database, as its owner.
    pub database_url: String,
    /// What becomes of rows whose parent is not there; the server's default, if nothing is said.
    pub on_missing_reference: Option<OnMissingReference>,
    /// Where everything lies until it is done.
    pub folder: PathBuf,
    /// Begin anew, whatever lies there.
    pub fresh: bool,
    /// Leave the files there when it is done.
    pub keep_files: bool,
}

/// Imports, or goes on with an import. Run again when it is done, it tells once more what came of it.
///
/// # Errors
/// What stands in the way of all tenants: a source that cannot be read, a folder of another import. What stands in the way of one
/// is in its report.
pub async fn import(wanted: &Wanted, output: &Output) -> anyhow::Result<Report> {
    let folder = Folder::hold(&wanted.folder)?;
    if wanted.fresh {
        folder.clear()?;
    }
    let mut import = match folder.load()? {
        Some(import) => {
            import.ensure_same(wanted, folder.dir())?;
            match &import.finished_at {
                Some(at) => output.say(&format!("done at {at}; --fresh imports anew")),
                None => output.say(&format!("what was read at {} goes on", import.read_at)),
            }
            import
        }
        None => {
            let mut source = open(wanted).await?;
            let import = read::read(&mut source, wanted, &folder, output).await?;
            folder.save(&import)?;
            import
        }
    };
    import.notes.iter().for_each(|note| output.say(&format!("note: {note}")));
    if import.finished_at.is_some() {
        return Ok(Report::new(&import, &BTreeMap::new()));
    }

    let failures = send_all(wanted, &folder, &mut import, output).await?;
    let database = Database::of_owner(&wanted.database_url, "intake import")?;
    for tenant in import.tenants.iter_mut().filter(|tenant| tenant.is_sent) {
        tenant.accounts = account::settle(&database, &wanted.database_url, &folder, tenant, output).await?;
    }
    folder.save(&import)?;
    let mut report = Report::new(&import, &failures);
    if report.verdict() != Verdict::Failed {
        import.finished_at = Some(folder::now());
        folder.save(&import)?;
        if !wanted.keep_files {
            folder.remove_files()?;
        }
        report = Report::new(&import, &BTreeMap::new());
    }
    Ok(report)
}

/// Reads everything, and validates it here, as far as a row can be by itself. Writes nothing and makes nothing.
///
/// # Errors
/// What stands in the way of reading.
pub async fn check(wanted: &Wanted, output: &Output) -> anyhow::Result<Report> {
    let mut source = open(wanted).await?;
    let import = read::check(&mut source, wanted, output).await?;
    import.notes.iter().for_each(|note| output.say(&format!("note: {note}")));
    Ok(Report::of_check(&import))
}

async fn open(wanted: &Wanted) -> anyhow::Result<Source> {
    Ok(Source::open(&wanted.location, wanted.tls).await?)
}

/// Sends what has not been sent. Answers why, by tenant, where that did not work: one tenant's failure stops no other.
async fn send_all(
    wanted: &Wanted,
    folder: &Folder,
    import: &mut Import,
    output: &Output,
) -> anyhow::Result<BTreeMap<Uuid, String>> {
    let waiting: Vec<_> = import.tenants.iter().filter(|tenant| !tenant.is_sent).cloned().collect();
    let send = |tenant: Imported| async move {
        let sent = send_one(wanted, folder, &tenant, output).await;
        (tenant.id, sent)
    };
    let mut sending = stream::iter(waiting).map(send).buffer_unordered(TENANTS_AT_ONCE);
    let mut failures = BTreeMap::new();
    while let Some((id, sent)) = sending.next().await {
        match sent {
            Ok(sessions) => {
                // noted right away: what is done is not sent again, whatever becomes of the others
                if let Some(tenant) = import.tenants.iter_mut().find(|tenant| tenant.id == id) {
                    (tenant.is_sent, tenant.sessions) = (true, sessions);
                }
                folder.save(import)?;
            }
            Err(error) => {
                output.say(&format!("{id}  error: {error:#}"));
                failures.insert(id, format!("{error:#}"));
            }
        }
    }
    Ok(failures)
}

/// Makes a tenant, sends its files, keeps what was refused, and takes its temporary key away again. Answers its sessions.
async fn send_one(wanted: &Wanted, folder: &Folder, tenant: &Imported, output: &Output) -> anyhow::Result<Vec<String>> {
    let mut client = intake_postgres::connect(&wanted.database_url).await?;
    let admission = Admission::give(&mut client, tenant, folder.dir()).await?;
    if tenant.parts.is_empty() {
        admission.end(&mut client, tenant, folder.dir()).await?;
        return Ok(Vec::new());
    }
    let api = Api::new(&wanted.api_url, admission.key())?;
    let files = tenant.parts.iter().map(|part| {
        let dataset = dataset(part.table).context("a table that is no dataset")?;
        Ok(DataFile { dataset, file: part.file.clone(), tenant: tenant.id })
    });
    let shipment = Shipment {
        tenants: vec![Consignment {
            tenant: tenant.id,
            api: api.clone(),
            files: files.collect::<anyhow::Result<_>>()?,
        }],
        policy: Policy { on_missing_reference: wanted.on_missing_reference, ..Policy::default() },
        sha256: false,
        wait: true,
        notes: Notes::Continue(Ledger {
            uploads: Uploads::new(folder.dir()),
            derived_keys: BTreeMap::new(),
            state_dir: folder.dir().to_owned(),
        }),
    };
    let summary = send(shipment, output).await;
    if summary.verdict() == Verdict::Failed {
        let why = summary.sessions.iter().find_map(|session| session.error.clone());
        let sessions: Vec<_> = summary.sessions.iter().filter_map(|session| session.upload_token.clone()).collect();
        bail!(
            "{}; the same command goes on, and until then {}",
            why.unwrap_or_else(|| format!("session {} has failed", sessions.join(", "))),
            admission.in_words()
        );
    }
    let sessions: Vec<_> = summary.sessions.iter().filter_map(|session| session.upload_token.clone()).collect();
    let mut rejected = Rejected::create(folder, tenant.id)?;
    for token in &sessions {
        rejected.fetch(&api, token).await?;
    }
    let refused = rejected.finish()?;
    admission.end(&mut client, tenant, folder.dir()).await?;
    let name = &tenant.name;
    output.say(&format!("{}  {name}: all is there, {} rows refused", tenant.id, grouped(refused)));
    Ok(sessions)
}

/// What a table's rows are sent as.
fn dataset(table: Table) -> Option<Dataset> {
    Dataset::ALL.into_iter().find(|dataset| dataset.name() == table.dataset())
}
