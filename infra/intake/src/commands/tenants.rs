//! `intake tenants`: who may send, and with which key.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use intake_domain::api_key::ApiKey;
use intake_local::Settings;
use intake_postgres::admin::{self, NewTenant};
use serde_json::json;
use uuid::Uuid;

use crate::keys::KeyFile;
use crate::output::{Output, Verdict, table};
use crate::target::DatabaseOptions;
use crate::tenants_file;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    database: DatabaseOptions,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Action {
    /// Add the tenants of a tenants.csv, with the hashes of their keys
    Load {
        /// The file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Add a tenant with a new key, which is shown once and noted in the key file
    Add {
        /// What to call it
        name: String,
        /// Its id; one that is there gets the new key [default: a new one]
        #[arg(long, value_name = "UUID")]
        tenant_id: Option<Uuid>,
    },
    /// List the tenants
    List,
}

/// What came of loading a file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The tenants in the file.
    pub tenants: Vec<Uuid>,
    /// How many of them are new.
    pub added: usize,
}

/// Runs the action.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let database_url = args.database.url().await?;
    match &args.action {
        Action::Load { file } => {
            let Loaded { tenants, added } = load(&database_url, file).await?;
            output.say(&format!("{added} tenants added, {} were there", tenants.len() - added));
            output.result(&json!({"tenants": tenants, "added": added}))?;
        }
        Action::Add { name, tenant_id } => add(&database_url, name, *tenant_id, output).await?,
        Action::List => list(&database_url, output).await?,
    }
    Ok(Verdict::Good)
}

/// Adds the tenants of a `tenants.csv`; those that are there stay.
pub async fn load(database_url: &str, file: &Path) -> anyhow::Result<Loaded> {
    let tenants = tenants_file::read(file)?;
    let mut client = intake_postgres::connect(database_url).await?;
    let mut added = 0;
    for tenant in &tenants {
        // Of an imported key only its form is known, and only if it is the predecessor's.
        let key_prefix = tenant.derived_key().map_or("imported".to_owned(), |key| key[..12].to_owned());
        let tenant = NewTenant { id: tenant.id, name: tenant.name.clone(), key_hash: tenant.key_hash, key_prefix };
        let new = admin::add_tenant(&mut client, &tenant).await;
        added += usize::from(new.with_context(|| format!("cannot add tenant {}", tenant.id))?);
    }
    Ok(Loaded { tenants: tenants.into_iter().map(|tenant| tenant.id).collect(), added })
}

async fn add(database_url: &str, name: &str, tenant_id: Option<Uuid>, output: &Output) -> anyhow::Result<()> {
    let id = tenant_id.unwrap_or_else(Uuid::now_v7);
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow!("the system has no random bytes: {error}"))?;
    let key = ApiKey::generate(random);
    let tenant = NewTenant { id, name: name.to_owned(), key_hash: key.hash(), key_prefix: key.prefix().to_owned() };
    let mut file = KeyFile::open(&Settings::from_env()?.state_dir)?;
    let mut client = intake_postgres::connect(database_url).await?;
    let new = admin::add_tenant(&mut client, &tenant).await?;

    // Shown before it is noted: if the file cannot be written, the key is not lost.
    output.say(&format!("tenant   {id}{}", if new { "" } else { " (was there, this is another key of it)" }));
    output.say(&format!("api key  {} (shown only now)", key.as_str()));
    file.remember(id, key.as_str())?;
    output.say(&format!("noted in {}", file.path().display()));
    output.result(&json!({"tenant_id": id, "name": name, "new": new, "api_key": key.as_str()}))
}

async fn list(database_url: &str, output: &Output) -> anyhow::Result<()> {
    let mut client = intake_postgres::connect(database_url).await?;
    let tenants = admin::list_tenants(&mut client).await?;
    if output.json() {
        let describe = |tenant: &admin::TenantRow| {
            let admin::TenantRow { id, name, created_at, active_keys } = tenant;
            json!({"tenant_id": id, "name": name, "created_at": created_at, "active_keys": active_keys})
        };
        return output.result(&json!({"tenants": tenants.iter().map(describe).collect::<Vec<_>>()}));
    }
    let header = ["tenant", "name", "keys", "since"].map(str::to_owned);
    let rows = tenants.into_iter().map(|t| [t.id.to_string(), t.name, t.active_keys.to_string(), t.created_at]);
    table([header].into_iter().chain(rows)).iter().for_each(|line| output.say(line));
    Ok(())
}
