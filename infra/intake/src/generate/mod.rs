//! The generator: a shop's data of any size, the same bytes for the same options, in constant memory.

mod shop;
mod sink;
mod stream;
mod value;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use intake_domain::api_key;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

pub use self::shop::Shop;
pub use self::sink::{Format, Sink, Written};
pub use self::stream::{Kind, Stream};
pub use self::value::{Field, Value};
use crate::data_files::{self, Dataset};
use crate::tenants_file::legacy_key;

/// Sizes that have a name; they are the predecessor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// 2 tenants; 1,000 products, 5,000 orders, 100 customers each.
    Small,
    /// 5 tenants; 50,000 products, 100,000 orders, 1,000 customers each.
    Medium,
    /// 10 tenants; 500,000 products, 2,000,000 orders, 10,000 customers each.
    Large,
}

/// What to generate, and where.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Tenants.
    pub tenants: u64,
    /// Customers of each tenant; without any, orders name none.
    pub customers: u64,
    /// Products of each tenant; without any, orders have no items.
    pub products: u64,
    /// Orders of each tenant, with one to five items each.
    pub orders: u64,
    /// Whether prices and stock movements of the products are written too.
    pub history: bool,
    /// Percentage of customers that carry another's e-mail address.
    pub colliding_emails: u8,
    /// The day after the last order; the first is up to 24 months older.
    pub until: Date,
    /// What all random numbers are drawn from.
    pub seed: u64,
    /// How rows are written.
    pub format: Format,
    /// Whether files are gzipped.
    pub compress: bool,
    /// Rows per file; customers and tenants are one file each.
    pub chunk_size: u64,
    /// Where the files go.
    pub output_dir: PathBuf,
    /// Whether data files of other runs are deleted first.
    pub replace: bool,
}

/// The default of [`Plan::seed`].
pub const SEED: u64 = 42;

/// The default of [`Plan::chunk_size`].
pub const CHUNK_SIZE: u64 = 50_000;

impl Plan {
    /// A preset with every default.
    pub fn new(preset: Preset, output_dir: PathBuf) -> Self {
        let (tenants, products, orders, customers) = match preset {
            Preset::Small => (2, 1_000, 5_000, 100),
            Preset::Medium => (5, 50_000, 100_000, 1_000),
            Preset::Large => (10, 500_000, 2_000_000, 10_000),
        };
        Self {
            tenants,
            customers,
            products,
            orders,
            history: false,
            colliding_emails: 0,
            until: jiff::civil::date(2026, 1, 1),
            seed: SEED,
            format: Format::Ndjson,
            compress: false,
            chunk_size: CHUNK_SIZE,
            output_dir,
            replace: false,
        }
    }

    /// The steps that [`Plan::run`] reports: an upper bound of its length is not known before the items are drawn.
    pub fn steps(&self) -> u64 {
        let history = if self.history { 2 * self.products } else { 0 };
        self.tenants * (self.customers + self.products + 2 * self.orders + history)
    }

    /// Writes everything; calls `step` for every customer, product and order, and again for every order's items.
    pub fn run(&self, step: &dyn Fn()) -> anyhow::Result<Summary> {
        ensure!(self.chunk_size > 0, "the chunk size must be at least 1");
        let started = Instant::now();
        let output_dir = self.output_dir.display();
        fs::create_dir_all(&self.output_dir).with_context(|| format!("cannot create {output_dir}"))?;
        if self.replace {
            for stale in data_files::find(&self.output_dir)?.files {
                let path = stale.file.path;
                fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
            }
        }

        let window = self.window()?;
        let mut run = Run { plan: self, step, summary: Summary::default(), files: Vec::new() };
        run.tenants(window)?;
        for number in 0..self.tenants {
            run.shop(&Shop::new(self, number, window))?;
        }
        let Run { mut summary, files, .. } = run;

        let found = data_files::find(&self.output_dir)?.files;
        let written: Vec<_> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        summary.others = found.iter().filter(|found| !written.contains(&found.file.name.as_str())).count();
        summary.seconds = started.elapsed().as_secs_f64();
        summary.rows_per_second = (summary.rows.values().sum::<u64>() as f64 / summary.seconds).round();
        Ok(summary)
    }

    fn window(&self) -> anyhow::Result<(Timestamp, Timestamp)> {
        let moment = |day: Date| -> anyhow::Result<_> { Ok(day.to_zoned(TimeZone::UTC)?.timestamp()) };
        let first = self.until.checked_sub(24.months()).context("no order can be that old")?;
        Ok((moment(first)?, moment(self.until)?))
    }
}

/// What a run wrote.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Rows by dataset, `tenants` among them.
    pub rows: BTreeMap<String, u64>,
    /// Files.
    pub files: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Data files found in the folder that this run did not write.
    pub others: usize,
    /// How long it took.
    pub seconds: f64,
    /// Rows of all datasets a second.
    pub rows_per_second: f64,
}

struct Run<'a> {
    plan: &'a Plan,
    step: &'a dyn Fn(),
    summary: Summary,
    files: Vec<PathBuf>,
}

impl<'a> Run<'a> {
    fn tenants(&mut self, window: (Timestamp, Timestamp)) -> anyhow::Result<()> {
        let path = self.plan.output_dir.join("tenants.csv");
        let context = || format!("cannot write {}", path.display());
        let mut writer =
            csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_path(&path).with_context(context)?;
        writer.write_record(["tenant_id", "name", "api_key_hash", "created_at"])?;
        for number in 0..self.plan.tenants {
            let shop = Shop::new(self.plan, number, window);
            let id = shop.id();
            let hash = hex::encode(api_key::hash(&legacy_key(id)));
            writer.write_record([id.to_string(), shop.name(), hash, window.0.to_string()]).with_context(context)?;
        }
        writer.flush().with_context(context)?;
        self.note("tenants", Written { bytes: fs::metadata(&path)?.len(), rows: self.plan.tenants, files: vec![path] });
        Ok(())
    }

    fn shop(&mut self, shop: &Shop<'_>) -> anyhow::Result<()> {
        let Plan { customers, products, orders, history, .. } = *self.plan;
        self.dataset(shop, Dataset::Customers, customers, |sink, index| sink.push(&shop.customer(index)?))?;
        self.dataset(shop, Dataset::Products, products, |sink, index| sink.push(&shop.product(index)))?;
        self.dataset(shop, Dataset::Orders, orders, |sink, index| sink.push(&shop.order(index)?))?;
        self.dataset(shop, Dataset::OrderItems, orders, |sink, index| {
            shop.order_items(index).try_for_each(|item| sink.push(&item))
        })?;
        if history {
            self.dataset(shop, Dataset::PriceHistory, products, |sink, index| {
                shop.price_history(index).try_for_each(|price| sink.push(&price))
            })?;
            self.dataset(shop, Dataset::StockEvents, products, |sink, index| {
                shop.stock_events(index).try_for_each(|event| sink.push(&event?))
            })?;
        }
        Ok(())
    }

    fn dataset(
        &mut self,
        shop: &Shop<'_>,
        dataset: Dataset,
        count: u64,
        write: impl Fn(&mut Sink<'a>, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut sink = Sink::new(self.plan, format!("{dataset}_{}", shop.id()), dataset != Dataset::Customers);
        for index in 0..count {
            write(&mut sink, index)?;
            (self.step)();
        }
        self.note(dataset.name(), sink.finish()?);
        Ok(())
    }

    fn note(&mut self, dataset: &str, written: Written) {
        *self.summary.rows.entry(dataset.to_owned()).or_default() += written.rows;
        self.summary.files += written.files.len();
        self.summary.bytes += written.bytes;
        self.files.extend(written.files);
    }
}

#[cfg(test)]
mod tests;
