//! `intake import`: takes over the predecessor's database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use crate::predecessor::{Location, Names, Table, Tls};
use clap::ValueEnum;
use intake_local::Settings;
use uuid::Uuid;

use crate::{Wanted, check, import};
use intake::output::{Output, Verdict, grouped};
use intake::policy::OnMissingReference;
use intake::target::{ApiOptions, DatabaseOptions};

/// The environment's name for the password of the source.
const PASSWORD: &str = "INTAKE_IMPORT_PASSWORD";

/// Options.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "The password is taken from INTAKE_IMPORT_PASSWORD, or from the address.")]
pub struct Args {
    /// The database: `sqlite:FILE`, `mysql://USER@HOST/DATABASE`, `postgres://…`, `mssql://…`
    #[arg(long, env = "INTAKE_IMPORT_FROM", value_name = "URL", hide_env_values = true)]
    from: String,
    /// Where what was read lies until it is done, and how far it is [default: `import` in the state folder]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Import this tenant only; may be given more than once
    #[arg(long, value_name = "UUID")]
    tenant_id: Vec<Uuid>,
    /// What a table is called that is not called as here, with its schema if need be: `orders=shop.ingest_order`
    #[arg(long, value_name = "TABLE=NAME", value_parser = parse_table)]
    table: Vec<(Table, String)>,
    /// Leave a table out
    #[arg(long, value_name = "TABLE", value_parser = parse_without)]
    without: Vec<Table>,
    /// How the connection is encrypted [default: verify, and off within this machine]
    #[arg(long, value_enum, value_name = "HOW")]
    tls: Option<TlsOption>,
    /// What to do with a row that names another which is not there [default: accept]
    #[arg(long, value_enum, value_name = "WHAT")]
    on_missing_reference: Option<OnMissingReference>,
    /// Read and check every row, and write nothing anywhere
    #[arg(long)]
    dry_run: bool,
    /// Begin anew, even where an import was interrupted and could go on, or is done
    #[arg(long)]
    fresh: bool,
    /// Leave the files there that were read, when all is done
    #[arg(long)]
    keep_files: bool,
    /// The API's address [default: the running local stack's, else http://localhost:8000]
    #[arg(long, env = "INTAKE_API_URL", value_name = "URL")]
    api_url: Option<String>,
    #[command(flatten)]
    database: DatabaseOptions,
}

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsOption {
    /// By TLS, with a certificate that the system trusts, or the file that SSL_CERT_FILE names
    Verify,
    /// Not at all
    Off,
}

/// Imports, or goes on with an import.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty());
    let location = Location::parse(&args.from, password)?;
    let mut wanted = Wanted {
        tls: match args.tls {
            None => location.default_tls(),
            Some(TlsOption::Verify) => Tls::Verify,
            Some(TlsOption::Off) => Tls::Off,
        },
        location,
        names: Names {
            tables: args.table.iter().cloned().collect::<BTreeMap<_, _>>(),
            without: args.without.iter().copied().collect::<BTreeSet<_>>(),
        },
        tenants: args.tenant_id.iter().copied().collect::<BTreeSet<_>>().into_iter().collect(),
        api_url: String::new(),
        database_url: String::new(),
        on_missing_reference: args.on_missing_reference,
        folder: args.state.clone().unwrap_or_else(|| settings.state_dir.join("import")),
        fresh: args.fresh,
        keep_files: args.keep_files,
    };
    // SQLite is read without a pause in which an interrupt would be seen, and at any point there is nothing to be undone
    tokio::spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("interrupted; the same command goes on");
            std::process::exit(i32::from(Verdict::Failed.code()));
        }
    });
    let since = Instant::now();
    let report = if args.dry_run {
        check(&wanted, output).await?
    } else {
        let api = ApiOptions { api_url: args.api_url.clone(), tenant_id: None, api_key: None };
        wanted.api_url = api.url(&settings).await?;
        wanted.database_url = args.database.url().await?;
        import(&wanted, output).await?
    };
    report.lines().iter().for_each(|line| output.say(line));
    let rows: u64 = report.tenants.iter().flat_map(|tenant| tenant.tables.values()).map(|table| table.read_rows).sum();
    let verdict = report.verdict();
    output.say(&format!(
        "{} rows of {} tenants, read in {:.1} s, all in {:.1} s: {}",
        grouped(rows),
        report.tenants.len(),
        report.read_seconds,
        since.elapsed().as_secs_f64(),
        match (verdict, args.dry_run) {
            (Verdict::Good, true) => "nothing would be refused as it is",
            (Verdict::Rejected, true) => "some would be refused",
            (Verdict::Good, false) => "both sides agree",
            (Verdict::Rejected, false) => "both sides agree but for what was refused",
            (Verdict::Failed, _) => "it is not done, the same command goes on",
        }
    ));
    if verdict == Verdict::Rejected && !args.dry_run {
        let rejects = wanted.folder.join("rejects");
        output.say(&format!("what was refused is in {}: mend the records, and send the folder", rejects.display()));
    }
    output.result(&report)?;
    Ok(verdict)
}

fn parse_table(text: &str) -> Result<(Table, String), String> {
    let (table, name) = text.split_once('=').ok_or("it is TABLE=NAME")?;
    match name.trim() {
        "" => Err("the name is empty".to_owned()),
        name => Ok((table.parse()?, name.to_owned())),
    }
}

/// A table that an import can do without.
fn parse_without(text: &str) -> Result<Table, String> {
    match text.parse()? {
        Table::Tenants => Err("without tenants nobody knows whose rows are".to_owned()),
        table => Ok(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_or_left_out() {
        assert_eq!(parse_table("orders=shop.ingest_order"), Ok((Table::Orders, "shop.ingest_order".to_owned())));
        for text in ["orders", "orders=", "refunds=x"] {
            assert!(parse_table(text).is_err(), "{text}");
        }
        assert_eq!(parse_without("price_history"), Ok(Table::PriceHistory));
        assert!(parse_without("tenants").is_err());
    }
}
