//! `intake gen`: data files of any size, for tests and demonstrations.

use std::path::PathBuf;

use jiff::civil::Date;

use crate::generate::{CHUNK_SIZE, Format, Plan, Preset, SEED, Summary};
use crate::output::{Bar, Output, Verdict, grouped, size};

/// Options; those that are given stand above the preset.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Counts to start from
    #[arg(long, value_enum, default_value = "small")]
    preset: Preset,
    /// Number of tenants
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tenants: Option<u64>,
    /// Products of each tenant
    #[arg(long, value_name = "N")]
    products_per_tenant: Option<u64>,
    /// Orders of each tenant, with one to five items each
    #[arg(long, value_name = "N")]
    orders_per_tenant: Option<u64>,
    /// Customers of each tenant
    #[arg(long, value_name = "N")]
    customers_per_tenant: Option<u64>,
    /// Write price_history and stock_events too
    #[arg(long)]
    with_history: bool,
    /// Let this share of the customers carry another's e-mail address
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(..=100))]
    colliding_emails: u8,
    /// The day after the last order; the first is up to 24 months older
    #[arg(long, value_name = "YYYY-MM-DD", default_value = "2026-01-01")]
    until: Date,
    /// What all random numbers are drawn from: the same seed and options give the same bytes
    #[arg(long, value_name = "N", default_value_t = SEED)]
    seed: u64,
    /// How rows are written
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
    /// Gzip the files
    #[arg(long)]
    compress: bool,
    /// Rows per file
    #[arg(long, value_name = "ROWS", default_value_t = CHUNK_SIZE, value_parser = clap::value_parser!(u64).range(1..))]
    chunk_size: u64,
    /// Where the files go
    #[arg(long, value_name = "DIR", default_value = "./data")]
    output_dir: PathBuf,
    /// Delete the data files that are in the folder first
    #[arg(long)]
    replace: bool,
}

impl Args {
    fn plan(&self) -> Plan {
        let preset = Plan::new(self.preset, self.output_dir.clone());
        Plan {
            tenants: self.tenants.unwrap_or(preset.tenants),
            customers: self.customers_per_tenant.unwrap_or(preset.customers),
            products: self.products_per_tenant.unwrap_or(preset.products),
            orders: self.orders_per_tenant.unwrap_or(preset.orders),
            history: self.with_history,
            colliding_emails: self.colliding_emails,
            until: self.until,
            seed: self.seed,
            format: self.format,
            compress: self.compress,
            chunk_size: self.chunk_size,
            replace: self.replace,
            ..preset
        }
    }
}

/// Writes the files and says what was written.
pub fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let summary = write(&args.plan(), output)?;
    if summary.others > 0 {
        output.say(&format!(
            "note: {} data files of other runs are in the folder too, --replace deletes them",
            summary.others
        ));
    }
    output.result(&summary)?;
    Ok(Verdict::Good)
}

/// Writes the files of a plan under a bar, and says how many.
pub fn write(plan: &Plan, output: &Output) -> anyhow::Result<Summary> {
    let bar = output.bar(plan.steps(), Bar::Steps).with_prefix("generating");
    let summary = plan.run(&|| bar.inc(1));
    bar.finish_and_clear();
    let summary = summary?;
    for (dataset, rows) in &summary.rows {
        output.say(&format!("{dataset:<14}{:>14}", grouped(*rows)));
    }
    output.say(&format!(
        "wrote {} files, {} to {} in {:.1} s, {} rows/s",
        summary.files,
        size(summary.bytes),
        plan.output_dir.display(),
        summary.seconds,
        grouped(summary.rows_per_second as u64)
    ));
    Ok(summary)
}
