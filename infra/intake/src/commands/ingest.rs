//! `intake ingest`: sends a folder of data files through the public API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use intake_local::Settings;
use uuid::Uuid;

use super::session::rows_line;
use crate::api::Api;
use crate::data_files::{self, DataFile, NAMING};
use crate::keys::KeyFile;
use crate::output::{Output, Verdict, grouped};
use crate::policy::Policy;
use crate::shipment::{Consignment, Ledger, Notes, Outcome, Shipment, send};
use crate::target::ApiOptions;
use crate::tenants_file;
use crate::uploads::Uploads;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The folder with the files, named `DATASET_TENANT[_chunk_NNNN].<ndjson|jsonl|csv>[.gz|.zst]`
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    policy: Policy,
    /// Declare each file's SHA-256, for the server to hold what arrives against
    #[arg(long)]
    sha256: bool,
    /// Send everything anew, even where an upload of these files was interrupted and could go on
    #[arg(long)]
    fresh: bool,
    /// Wait until every session has ended
    #[arg(long)]
    wait: bool,
}

/// Sends the folder.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let url = args.api.url(&settings).await?;
    let files = files(&args.data_dir, args.api.tenant_id, output)?;
    let keys = find_keys(args, &files, &KeyFile::open(&settings.state_dir)?)?;
    let consign = |(tenant, files)| -> anyhow::Result<_> {
        Ok(Consignment { tenant, api: Api::new(&url, &keys[&tenant].text)?, files })
    };
    let tenants = files.into_iter().map(consign).collect::<anyhow::Result<_>>()?;
    let derived_keys = keys.into_iter().filter_map(|(tenant, key)| key.derived.then_some((tenant, key.text)));
    let ledger = Ledger {
        uploads: Uploads::new(&settings.state_dir),
        derived_keys: derived_keys.collect(),
        state_dir: settings.state_dir,
    };
    let notes = if args.fresh { Notes::Fresh(ledger) } else { Notes::Continue(ledger) };
    let Args { sha256, wait, .. } = *args;

    let summary = send(Shipment { tenants, policy: args.policy.clone(), sha256, wait, notes }, output).await;
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
        bail!("no data files{whose} in {}, they are named {NAMING}", dir.display());
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
