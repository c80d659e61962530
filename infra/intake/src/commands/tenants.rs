//! `intake tenants`: who may send, and with which key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use intake_domain::api_key::{self, ApiKey};
use intake_domain::audit::KeyEvent;
use intake_domain::price::Policy;
use intake_domain::retention::Wishes;
use intake_local::Settings;
use intake_postgres::admin::{self, NewTenant, TenantRow};
use intake_postgres::audit::{self, Entry};
use intake_postgres::keys::{self, KeyRow, NewKey};
use intake_postgres::{price, retention};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::erase;
use crate::keys::KeyFile;
use crate::output::{Output, Verdict, grouped, table};
use crate::target::{DatabaseOptions, StoreOptions, Stores};
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
    /// Give a tenant a second key, shown once and noted in the key file; the older one works until it is revoked
    RotateKey {
        /// Whose
        #[arg(value_name = "TENANT")]
        tenant_id: Uuid,
    },
    /// Revoke a key; within a minute it is refused everywhere
    RevokeKey {
        /// Whose
        #[arg(value_name = "TENANT")]
        tenant_id: Uuid,
        /// How it begins, as `tenants list` shows it
        prefix: String,
        /// Even if it is the tenant's only live key
        #[arg(long)]
        force: bool,
    },
    /// Show, or choose, what becomes of a tenant's prices that look wrong
    PricePolicy {
        /// Whose
        #[arg(value_name = "TENANT")]
        tenant_id: Uuid,
        /// warn: they go in, hold: they wait until somebody decides, reject: they are refused
        #[arg(value_parser = parse_policy)]
        policy: Option<Policy>,
    },
    /// Show, or choose, for how long what a tenant sent is kept; 0 is for ever
    Retention {
        /// Whose
        #[arg(value_name = "TENANT")]
        tenant_id: Uuid,
        /// Whole months of orders besides the running one
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=1200))]
        order_months: Option<u16>,
        /// Days of stock events; levels stay what they are
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=36500))]
        stock_event_days: Option<u16>,
        /// Days of price events; the history of prices stays
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=36500))]
        price_event_days: Option<u16>,
        /// Days of upload sessions and their rejects, after the seven in which they can be used
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(0..=36500))]
        session_days: Option<u16>,
        /// Do as the deployment does, but for what is named here
        #[arg(long)]
        reset: bool,
    },
    /// Remove a tenant with all that belongs to it, for good; without --yes, show what that is
    Erase {
        /// Whom
        #[arg(value_name = "TENANT")]
        tenant_id: Uuid,
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Who wants it, for the record
        #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
        by: String,
        #[command(flatten)]
        stores: StoreOptions,
    },
    /// List the tenants and their keys
    List,
    /// List who was refused and what became of keys
    Audit {
        /// Only this tenant's [default: all, and callers whom nobody knows]
        #[arg(value_name = "TENANT")]
        tenant_id: Option<Uuid>,
        /// How far back, such as 90m, 24h or 7d
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_time)]
        since: Duration,
    },
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
        Action::RotateKey { tenant_id } => rotate(&database_url, *tenant_id, output).await?,
        Action::RevokeKey { tenant_id, prefix, force } => {
            revoke(&database_url, *tenant_id, prefix, *force, output).await?;
        }
        Action::PricePolicy { tenant_id, policy } => price_policy(&database_url, *tenant_id, *policy, output).await?,
        Action::Retention { tenant_id, order_months, stock_event_days, price_event_days, session_days, reset } => {
            let wanted = Wishes {
                order_months: *order_months,
                stock_event_days: *stock_event_days,
                price_event_days: *price_event_days,
                session_days: *session_days,
            };
            keep(&database_url, *tenant_id, &wanted, *reset, output).await?;
        }
        Action::Erase { tenant_id, yes, by, stores } => {
            let stores = stores.connect().await?;
            return erase(&database_url, &stores, *tenant_id, by, *yes, output).await;
        }
        Action::List => list(&database_url, output).await?,
        Action::Audit { tenant_id, since } => log(&database_url, *tenant_id, *since, output).await?,
    }
    Ok(Verdict::Good)
}

/// Adds the tenants of a `tenants.csv`; those that are there stay.
pub async fn load(database_url: &str, file: &Path) -> anyhow::Result<Loaded> {
    let tenants = tenants_file::read(file)?;
    let mut client = intake_postgres::connect(database_url).await?;
    let mut added = 0;
    for tenant in &tenants {
        // of an imported key only its hash is known, unless it is one that the predecessor derived
        let derived = tenant.derived_key().map(|key| key[..12].to_owned());
        let prefix = derived.unwrap_or_else(|| api_key::prefix_of_hash(&tenant.key_hash));
        let key = NewKey { hash: tenant.key_hash, prefix };
        let tenant = NewTenant { id: tenant.id, name: tenant.name.clone(), key };
        let new = admin::add_tenant(&mut client, &tenant, KeyEvent::Imported).await;
        added += usize::from(new.with_context(|| format!("cannot add tenant {}", tenant.id))?);
    }
    Ok(Loaded { tenants: tenants.into_iter().map(|tenant| tenant.id).collect(), added })
}

fn new_key() -> anyhow::Result<ApiKey> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| anyhow!("the system has no random bytes: {error}"))?;
    Ok(ApiKey::generate(random))
}

/// Shows a key before it is noted: if the file cannot be written, the key is not lost.
fn hand_out(tenant: Uuid, key: &ApiKey, file: &mut KeyFile, output: &Output) -> anyhow::Result<()> {
    output.say(&format!("api key  {} (shown only now)", key.as_str()));
    file.remember(tenant, key.as_str())?;
    output.say(&format!("noted in {}", file.path().display()));
    Ok(())
}

async fn add(database_url: &str, name: &str, tenant_id: Option<Uuid>, output: &Output) -> anyhow::Result<()> {
    let id = tenant_id.unwrap_or_else(Uuid::now_v7);
    let key = new_key()?;
    let tenant = NewTenant { id, name: name.to_owned(), key: NewKey::from(&key) };
    let mut file = KeyFile::open(&Settings::from_env()?.state_dir)?;
    let mut client = intake_postgres::connect(database_url).await?;
    let new = admin::add_tenant(&mut client, &tenant, KeyEvent::Added).await?;

    output.say(&format!("tenant   {id}{}", if new { "" } else { " (was there, this is another key of it)" }));
    hand_out(id, &key, &mut file, output)?;
    output.result(&json!({"tenant_id": id, "name": name, "new": new, "api_key": key.as_str()}))
}

async fn rotate(database_url: &str, tenant: Uuid, output: &Output) -> anyhow::Result<()> {
    let key = new_key()?;
    let mut file = KeyFile::open(&Settings::from_env()?.state_dir)?;
    let mut client = intake_postgres::connect(database_url).await?;
    let older = keys::rotate(&mut client, tenant, &NewKey::from(&key)).await?;

    hand_out(tenant, &key, &mut file, output)?;
    for KeyRow { prefix, last_used_at, .. } in &older {
        let used = last_used_at.as_ref().map_or("never used".to_owned(), |at| format!("last used {at}"));
        output.say(&format!("{prefix} works as well ({used}); when nobody needs it any more:"));
        output.say(&format!("  cargo intake tenants revoke-key {tenant} {prefix}"));
    }
    let older: Vec<_> = older.iter().map(key_json).collect();
    output.result(&json!({"tenant_id": tenant, "api_key": key.as_str(), "older_keys": older}))
}

async fn revoke(database_url: &str, tenant: Uuid, prefix: &str, force: bool, output: &Output) -> anyhow::Result<()> {
    let mut client = intake_postgres::connect(database_url).await?;
    let revoked = keys::revoke(&mut client, tenant, prefix, force).await;
    let (key, left) = revoked.map_err(|error| match error {
        intake_postgres::Error::LastKey(_) => {
            anyhow!("{error}; give it another with `tenants rotate-key {tenant}`, or take it away with --force")
        }
        error => error.into(),
    })?;
    output.say(&format!("{} is revoked, and refused everywhere within a minute", key.prefix));
    match left.as_slice() {
        [] => output.say(&format!("tenant {tenant} has no live key")),
        left => left.iter().for_each(|key| output.say(&format!("{} is live", key.prefix))),
    }
    let file = KeyFile::open(&Settings::from_env()?.state_dir)?;
    if file.get(Some(tenant)).is_some_and(|noted| noted.starts_with(&key.prefix)) {
        output.say(&format!("it is the one in {}: what reads it from there has no key now", file.path().display()));
    }
    let left: Vec<_> = left.iter().map(key_json).collect();
    output.result(&json!({"tenant_id": tenant, "revoked": key.prefix, "live_keys": left}))
}

async fn price_policy(database_url: &str, tenant: Uuid, wanted: Option<Policy>, output: &Output) -> anyhow::Result<()> {
    let mut client = intake_postgres::connect(database_url).await?;
    let policy = price::operate_policy(&mut client, tenant, wanted).await?;
    let policy = policy.with_context(|| format!("there is no tenant {tenant}"))?.as_str();
    output.say(policy);
    output.result(&json!({"tenant_id": tenant, "price_policy": policy}))
}

async fn keep(database_url: &str, tenant: Uuid, wanted: &Wishes, reset: bool, output: &Output) -> anyhow::Result<()> {
    let mut client = intake_postgres::connect(database_url).await?;
    let change = |known: Wishes| {
        let known = if reset { Wishes::default() } else { known };
        Wishes {
            order_months: wanted.order_months.or(known.order_months),
            stock_event_days: wanted.stock_event_days.or(known.stock_event_days),
            price_event_days: wanted.price_event_days.or(known.price_event_days),
            session_days: wanted.session_days.or(known.session_days),
        }
    };
    let wishes = retention::operate_wishes(&mut client, tenant, change).await?;
    let wishes = wishes.with_context(|| format!("there is no tenant {tenant}"))?;
    let say = |wish: Option<u16>, unit: &str| match wish {
        None => "as the deployment has it".to_owned(),
        Some(0) => "for ever".to_owned(),
        Some(number) => format!("{number} {unit}"),
    };
    let rows = [
        ["orders", &say(wishes.order_months, "months")],
        ["stock events", &say(wishes.stock_event_days, "days")],
        ["price events", &say(wishes.price_event_days, "days")],
        ["sessions", &say(wishes.session_days, "days")],
    ];
    table(rows.map(|row| row.map(str::to_owned))).iter().for_each(|line| output.say(line));
    output.result(&json!({
        "tenant_id": tenant,
        "order_months": wishes.order_months,
        "stock_event_days": wishes.stock_event_days,
        "price_event_days": wishes.price_event_days,
        "session_days": wishes.session_days,
    }))
}

async fn erase(
    database_url: &str,
    stores: &Stores,
    tenant: Uuid,
    by: &str,
    yes: bool,
    output: &Output,
) -> anyhow::Result<Verdict> {
    if !yes {
        let mut client = intake_postgres::connect(database_url).await?;
        let counts = erase::count(&mut client, stores, tenant).await?;
        let found = counts.iter().filter(|(_, count)| **count > 0);
        table(found.map(|(what, count)| [what.clone(), grouped(*count)])).iter().for_each(|line| output.say(line));
        output.say("nothing was removed: with --yes all of it is, for good");
        output.result(&json!({"tenant_id": tenant, "erased": false, "found": counts}))?;
        return Ok(Verdict::Failed);
    }
    let request = erase::Request { tenant, by, key_lifetime: erase::KNOWN_FOR };
    let done = erase::erase(database_url, stores, request, &|line| output.say(line)).await?;
    let settings = Settings::from_env()?;
    KeyFile::open(&settings.state_dir)?.forget(tenant)?;
    let left: u64 = done.left.values().sum();
    table(done.left.iter().map(|(what, count)| [what.clone(), grouped(*count)]))
        .iter()
        .for_each(|line| output.say(line));
    let (at, by) = (done.erasure.finished_at.unwrap_or_default(), done.erasure.asked_by);
    output.say(&format!("tenant {tenant} was erased at {at} for {by}; counted just now: {left} left"));
    output.say("an address that was handed out for an upload works for up to an hour: what comes by it is swept away");
    output.result(&json!({
        "tenant_id": tenant,
        "erased": true,
        "asked_at": done.erasure.asked_at,
        "asked_by": by,
        "finished_at": at,
        "removed": done.removed,
        "left": done.left,
    }))?;
    Ok(if left == 0 { Verdict::Good } else { Verdict::Failed })
}

fn parse_policy(text: &str) -> anyhow::Result<Policy> {
    Policy::parse(text).context("must be one of warn, hold, reject")
}

fn key_json(key: &KeyRow) -> Value {
    let KeyRow { prefix, created_at, last_used_at, revoked_at, .. } = key;
    json!({"prefix": prefix, "created_at": created_at, "last_used_at": last_used_at, "revoked_at": revoked_at})
}

async fn list(database_url: &str, output: &Output) -> anyhow::Result<()> {
    let mut client = intake_postgres::connect(database_url).await?;
    let tenants = admin::list_tenants(&mut client).await?;
    let mut by_tenant = BTreeMap::<Uuid, Vec<KeyRow>>::new();
    for key in keys::list(&client, None).await? {
        by_tenant.entry(key.tenant_id).or_default().push(key);
    }
    let tenants: Vec<_> = tenants
        .into_iter()
        .map(|tenant| {
            let keys = by_tenant.remove(&tenant.id).unwrap_or_default();
            (tenant, keys)
        })
        .collect();
    if output.json() {
        let describe = |(TenantRow { id, name, created_at }, keys): &(TenantRow, Vec<KeyRow>)| {
            let keys: Vec<_> = keys.iter().map(key_json).collect();
            json!({"tenant_id": id, "name": name, "created_at": created_at, "keys": keys})
        };
        return output.result(&json!({"tenants": tenants.iter().map(describe).collect::<Vec<_>>()}));
    }
    let header = ["tenant", "name", "since", "key", "added", "last used", "revoked"].map(str::to_owned);
    let rows = tenants.iter().flat_map(|(tenant, keys)| tenant_lines(tenant, keys));
    table([header].into_iter().chain(rows)).iter().for_each(|line| output.say(line));
    Ok(())
}

/// A tenant with its first key, and a line for each other key.
fn tenant_lines(tenant: &TenantRow, keys: &[KeyRow]) -> Vec<[String; 7]> {
    let or_dash = |text: Option<&String>| text.map_or("-".to_owned(), String::clone);
    let line = |at: usize| {
        let key = keys.get(at);
        let [id, name, since] = match at {
            0 => [tenant.id.to_string(), tenant.name.clone(), tenant.created_at.clone()],
            _ => Default::default(),
        };
        let prefix = or_dash(key.map(|key| &key.prefix));
        let added = or_dash(key.map(|key| &key.created_at));
        let used = or_dash(key.and_then(|key| key.last_used_at.as_ref()));
        let revoked = or_dash(key.and_then(|key| key.revoked_at.as_ref()));
        [id, name, since, prefix, added, used, revoked]
    };
    (0..keys.len().max(1)).map(line).collect()
}

async fn log(database_url: &str, tenant: Option<Uuid>, since: Duration, output: &Output) -> anyhow::Result<()> {
    let client = intake_postgres::connect(database_url).await?;
    let entries = audit::list(&client, tenant, since).await?;
    if output.json() {
        return output.result(&json!({"entries": entries.iter().map(entry_json).collect::<Vec<_>>()}));
    }
    let header = ["time", "tenant", "what", "key", "from", "request", "times"].map(str::to_owned);
    table([header].into_iter().chain(entries.iter().map(entry_line))).iter().for_each(|line| output.say(line));
    Ok(())
}

fn entry_json(entry: &Entry) -> Value {
    let Entry {
        tenant_id,
        logged_at,
        action,
        code,
        key_prefix,
        source_ip,
        method,
        path,
        request_id,
        asked_by,
        occurrences,
    } = entry;
    json!({
        "logged_at": logged_at,
        "tenant_id": tenant_id,
        "action": action,
        "code": code,
        "key_prefix": key_prefix,
        "source_ip": source_ip,
        "method": method,
        "path": path,
        "request_id": request_id,
        "asked_by": asked_by,
        "occurrences": occurrences,
    })
}

fn entry_line(entry: &Entry) -> [String; 7] {
    let or_dash = |text: Option<String>| text.unwrap_or("-".to_owned());
    let request = entry.method.as_ref().zip(entry.path.as_ref()).map(|(method, path)| format!("{method} {path}"));
    let request = request.or_else(|| entry.asked_by.as_ref().map(|name| format!("by {name}")));
    [
        entry.logged_at.clone(),
        or_dash(entry.tenant_id.map(|id| id.to_string())),
        entry.code.as_ref().unwrap_or(&entry.action).clone(),
        or_dash(entry.key_prefix.clone()),
        or_dash(entry.source_ip.map(|ip| ip.to_string())),
        or_dash(request),
        entry.occurrences.to_string(),
    ]
}

/// A span of time as people write it; a day has 24 hours.
fn parse_time(text: &str) -> Result<Duration, String> {
    let span: jiff::Span = text.parse().map_err(|error| format!("{error}"))?;
    let time = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|error| format!("{error}"))?;
    Duration::try_from(time).map_err(|_| "it must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let seconds = |text| parse_time(text).map(|time| time.as_secs());
        assert_eq!(
            ["90m", "24h", "7d", "1d 12h", "2w", "45 seconds"].map(seconds),
            [5_400, 86_400, 604_800, 129_600, 1_209_600, 45].map(Ok)
        );
        for text in ["", "24", "-1h", "1 month", "soon"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_entry_says_why_before_what() {
        let mut entry = Entry {
            tenant_id: None,
            logged_at: "2026-01-01T00:00:00Z".to_owned(),
            action: "access_refused".to_owned(),
            code: Some("UNKNOWN_KEY".to_owned()),
            key_prefix: None,
            source_ip: Some([192, 0, 2, 1].into()),
            method: Some("GET".to_owned()),
            path: Some("/health".to_owned()),
            request_id: None,
            asked_by: None,
            occurrences: 3,
        };
        assert_eq!(
            entry_line(&entry),
            ["2026-01-01T00:00:00Z", "-", "UNKNOWN_KEY", "-", "192.0.2.1", "GET /health", "3"]
        );
        assert_eq!(entry_json(&entry)["source_ip"], "192.0.2.1");
        (entry.action, entry.code, entry.method) = ("key_added".to_owned(), None, None);
        assert_eq!(entry_line(&entry)[2..6], ["key_added", "-", "192.0.2.1", "-"]);
        (entry.action, entry.asked_by) = ("erased".to_owned(), Some("ops".to_owned()));
        assert_eq!(entry_line(&entry)[2..6], ["erased", "-", "192.0.2.1", "by ops"]);
    }
}
