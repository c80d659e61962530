//! `intake demo`: from nothing to loaded rows, all through the public API.

use std::collections::BTreeMap;

use anyhow::Context;
use intake_local::{Endpoints, Settings};
use intake_postgres::admin;
use serde::Serialize;
use uuid::Uuid;

use super::session::rows_line;
use super::{generate, tenants, up};
use crate::api::Api;
use crate::data_files::{self, Dataset};
use crate::generate::{Plan, Preset};
use crate::keys::KeyFile;
use crate::output::{Output, Verdict, grouped};
use crate::policy::Policy;
use crate::shipment::{self, Consignment, Notes, Shipment, Summary};
use crate::tenants_file::legacy_key;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// How much to load
    #[arg(long, value_enum, default_value = "small")]
    preset: Preset,
    /// End the stack afterwards
    #[arg(long)]
    stop: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    api_url: &'a str,
    tenants: usize,
    rows: BTreeMap<&'static str, i64>,
    rejected: u64,
    seconds: f64,
    rows_per_second: f64,
}

/// Starts the stack unless it is running, generates, loads, and counts what arrived.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let endpoints = up::start_detached(&settings, output).await?;
    let shown = show(args, &settings, &endpoints, output).await;
    if args.stop {
        intake_local::stop_running(&settings, &|line| output.say(line)).await?;
    }
    let (report, verdict) = shown?;
    output.result(&report)?;
    Ok(verdict)
}

async fn show<'a>(
    args: &Args,
    settings: &Settings,
    endpoints: &'a Endpoints,
    output: &Output,
) -> anyhow::Result<(Report<'a>, Verdict)> {
    let data_dir = settings.state_dir.join("demo-data");
    let plan = Plan { replace: true, history: true, ..Plan::new(args.preset, data_dir.clone()) };
    generate::write(&plan, output)?;
    let tenants = tenants::load(&endpoints.owner_database_url, &data_dir.join("tenants.csv")).await?.tenants;

    let mut keys = KeyFile::open(&settings.state_dir)?;
    let mut files = data_files::find(&data_dir)?.by_tenant();
    let mut access = |id: Uuid| -> anyhow::Result<_> {
        let key = legacy_key(id);
        keys.remember(id, &key)?;
        let files = files.remove(&id).unwrap_or_default();
        Ok(Consignment { tenant: id, api: Api::new(&endpoints.api_url, &key)?, files })
    };
    let all = Shipment {
        tenants: tenants.iter().copied().map(&mut access).collect::<anyhow::Result<_>>()?,
        policy: Policy::default(),
        sha256: false,
        wait: true,
        // The files are written anew each time.
        notes: Notes::Off,
    };
    let summary = shipment::send(all, output).await;

    let rows = count(&endpoints.owner_database_url, &tenants).await?;
    say_result(&summary, &rows, output);
    say_next(endpoints, &summary, args.stop, output);
    let Summary { rejected, seconds, rows_per_second, .. } = summary;
    let report =
        Report { api_url: &endpoints.api_url, tenants: tenants.len(), rows, rejected, seconds, rows_per_second };
    Ok((report, summary.verdict()))
}

/// Rows in the production tables, over these tenants.
async fn count(database_url: &str, tenants: &[Uuid]) -> anyhow::Result<BTreeMap<&'static str, i64>> {
    let mut rows = BTreeMap::from(Dataset::ALL.map(|dataset| (dataset.name(), 0)));
    let mut client = intake_postgres::connect(database_url).await?;
    for tenant in tenants {
        let counts = admin::count_rows(&mut client, *tenant).await;
        let counts = counts.with_context(|| format!("cannot count the rows of tenant {tenant}"))?;
        for (dataset, sum) in &mut rows {
            *sum += counts.get(*dataset).copied().unwrap_or(0);
        }
    }
    Ok(rows)
}

fn say_result(summary: &Summary, rows: &BTreeMap<&'static str, i64>, output: &Output) {
    output.say("");
    output.say("rows in production");
    for (dataset, rows) in rows {
        output.say(&format!("  {dataset:<13}{:>11}", grouped(rows.unsigned_abs())));
    }
    let total = summary.total();
    output.say(&format!(
        "{} rows sent in {:.1} s, {} rows/s: {}",
        grouped(summary.rows),
        summary.seconds,
        grouped(summary.rows_per_second as u64),
        rows_line(&total)
    ));
    if total.unchanged > 0 && total.inserted + total.updated == 0 {
        output.say("all of them were there already, as they are: nothing has changed");
    }
}

fn say_next(endpoints: &Endpoints, summary: &Summary, stopping: bool, output: &Output) {
    if stopping {
        return;
    }
    output.say("");
    output.say(&format!("api      {}", endpoints.api_url));
    output.say(&format!("docs     {}/api/docs/", endpoints.api_url));
    if let Some(session) = summary.sessions.first() {
        let key = legacy_key(session.tenant_id);
        output.say(&format!("console  {}/admin/ with the key {key}", endpoints.api_url));
    }
    output.say(&format!("health   {}/health", endpoints.api_url));
    for session in &summary.sessions {
        let Some(token) = &session.upload_token else { continue };
        output.say(&format!("session  cargo intake session {token} --tenant-id {}", session.tenant_id));
        if session.rows.rejected > 0 {
            output.say(&format!("rejects  cargo intake rejects {token} --tenant-id {}", session.tenant_id));
        }
    }
    output.say("logs     cargo intake logs --follow");
    output.say("stop     cargo intake down");
}
