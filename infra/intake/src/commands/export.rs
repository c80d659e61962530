//! `intake export`: rows into a file, and the file onto this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use intake_local::Settings;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::fs::{self, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::sleep;
use uuid::Uuid;

use crate::api::{Api, Export, Manifest, Range, Refusal};
use crate::downloads::{Note, Record};
use crate::keys::KeyFile;
use crate::output::{Bar, Output, Verdict, grouped, size};
use crate::target::ApiOptions;

/// How often a download that gets no further is tried again before it is given up.
const TRIES: u32 = 5;

/// Bytes that are read at once to be hashed.
const READ_BYTES: usize = 1 << 20;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Which rows: orders, order_items, products, customers, stock or price_events
    #[arg(long, value_name = "NAME", default_value = "orders")]
    dataset: String,
    /// How they are written
    #[arg(long, value_parser = ["csv", "json", "parquet"], default_value = "csv")]
    format: String,
    /// How the file is compressed; Parquet is inside
    #[arg(long, value_parser = ["none", "gzip", "zstd"], default_value = "none")]
    compression: String,
    /// Where the file goes; until it is whole it is called FILE.part
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Columns, in this order [default: all]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    columns: Vec<String>,
    /// Part of a customer's name or e-mail address
    #[arg(long, value_name = "TEXT")]
    q: Option<String>,
    /// Statuses of orders
    #[arg(long, value_name = "A,B,…")]
    order_status: Option<String>,
    /// Products, by their ids
    #[arg(long, value_name = "A,B,…")]
    product_ids: Option<String>,
    /// The lowest price or total
    #[arg(long, value_name = "PRICE")]
    min_price: Option<String>,
    /// The highest price or total
    #[arg(long, value_name = "PRICE")]
    max_price: Option<String>,
    /// From this day or instant on
    #[arg(long, value_name = "DATE")]
    start_date: Option<String>,
    /// Up to this day or instant
    #[arg(long, value_name = "DATE")]
    end_date: Option<String>,
    /// An object that an order's raw_payload contains
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    payload: Option<Box<RawValue>>,
    /// Leave texts in CSV as they are that a spreadsheet would run as a formula
    #[arg(long)]
    no_spreadsheet_safe: bool,
    /// Do not go on with an earlier export of the same
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    api: ApiOptions,
}

impl Args {
    /// The body of the order. The payload is in it as it was given: a number of many digits keeps them.
    fn order(&self) -> serde_json::Result<Box<RawValue>> {
        let texts = [
            ("q", &self.q),
            ("order_status", &self.order_status),
            ("product_ids", &self.product_ids),
            ("min_price", &self.min_price),
            ("max_price", &self.max_price),
            ("start_date", &self.start_date),
            ("end_date", &self.end_date),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, to_raw_value(text.as_ref()?))));
        let mut filters =
            texts.map(|(name, text)| Ok((name, text?))).collect::<serde_json::Result<BTreeMap<_, _>>>()?;
        filters.extend(self.payload.clone().map(|payload| ("payload", payload)));
        let mut order =
            BTreeMap::from([("dataset", to_raw_value(&self.dataset)?), ("format", to_raw_value(&self.format)?)]);
        if self.compression != "none" {
            order.insert("compression", to_raw_value(&self.compression)?);
        }
        if !self.columns.is_empty() {
            order.insert("columns", to_raw_value(&self.columns)?);
        }
        if self.no_spreadsheet_safe {
            order.insert("spreadsheet_safe", to_raw_value(&false)?);
        }
        if !filters.is_empty() {
            order.insert("filters", to_raw_value(&filters)?);
        }
        to_raw_value(&order)
    }
}

fn parse_object(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str::<Map<String, Value>>(text)
        .and_then(|_| RawValue::from_string(text.to_owned()))
        .map_err(|error| format!("no JSON object: {error}"))
}

/// Orders the export, or goes on with it, and fetches its file.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let api = args.api.connect().await?;
    let tenant = match args.api.tenant_id {
        Some(tenant) => tenant,
        None => KeyFile::open(&settings.state_dir)?.only_tenant().context("which tenant? give --tenant-id")?,
    };
    let note = Note::hold(&settings.state_dir, &args.out)?;
    if args.fresh {
        note.clear()?;
    }
    let (export_id, manifest) = fetch(&api, tenant, &args.order()?, &args.out, note, output).await?;
    let (rows, bytes) = (grouped(manifest.rows), size(manifest.bytes));
    output.say(&format!("{rows} rows, {bytes} in {}", args.out.display()));
    output.result(&json!({
        "tenant_id": tenant,
        "export_id": export_id,
        "dataset": args.dataset,
        "format": args.format,
        "file": args.out,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
    }))?;
    Ok(Verdict::Good)
}

/// Has the file of an order written and fetches it to `out`; what is noted of the same order goes on. Answers which export
/// it was, and what its file is.
pub async fn fetch(
    api: &Api,
    tenant: Uuid,
    order: &RawValue,
    out: &Path,
    note: Note,
    output: &Output,
) -> anyhow::Result<(Option<Uuid>, Manifest)> {
    let part = part_of(out);
    let mut record = match note.read()? {
        Some(record) if record.is_of(api.url(), tenant, order) => record,
        _ => begin(&note, &part, Record::new(api.url(), tenant, order.to_owned())).await?,
    };
    let manifest = loop {
        match finish(api, &note, &mut record, output).await? {
            Ended::Written(manifest) => break manifest,
            Ended::Gone => {
                output.say("the earlier export is gone, and ordered again");
                record = begin(&note, &part, Record::new(api.url(), tenant, order.to_owned())).await?;
            }
            Ended::Badly(why) => {
                note.clear()?;
                bail!(why);
            }
        }
    };
    download(api, &note, &mut record, &manifest, &part, output).await?;
    if sha256(&part).await? != manifest.sha256 {
        fs::remove_file(&part).await.with_context(|| format!("cannot remove {}", part.display()))?;
        bail!("what arrived is not what was written; it is removed, and the same command fetches it again");
    }
    fs::rename(&part, out).await.with_context(|| format!("cannot write {}", out.display()))?;
    note.clear()?;
    Ok((record.export_id, manifest))
}

/// `FILE.part` of `FILE`.
fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Notes a new export, and removes what another one may have left.
async fn begin(note: &Note, part: &Path, record: Record) -> anyhow::Result<Record> {
    match fs::remove_file(part).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", part.display()));
        }
        _ => {}
    }
    note.write(&record)?;
    Ok(record)
}

/// What became of an export.
enum Ended {
    Written(Manifest),
    /// The server has none, or its file no more.
    Gone,
    Badly(String),
}

/// Orders the export if it is not ordered yet, and follows it to its end.
async fn finish(api: &Api, note: &Note, record: &mut Record, output: &Output) -> anyhow::Result<Ended> {
    let export_id = match record.export_id {
        Some(id) => {
            output.say(&format!("going on with export {id}"));
            id
        }
        None => {
            let id = api.order_export(record.tenant_id, &record.order, &record.idempotency_key).await?;
            record.export_id = Some(id);
            note.write(record)?;
            output.say(&format!("export {id}"));
            id
        }
    };
    let bar = output.bar(0, Bar::Steps).with_prefix("written");
    let mut said = 0;
    loop {
        let (export, pause) = match api.export(record.tenant_id, export_id).await {
            Err(error) if is_unknown(&error) => return Ok(Ended::Gone),
            looked => looked?,
        };
        let Export { status, rows_done, rows_estimated, manifest, error, .. } = export;
        bar.set_length(rows_estimated.unwrap_or_default().max(rows_done));
        bar.set_position(rows_done);
        match (status.as_str(), manifest) {
            ("completed", Some(manifest)) => {
                bar.finish_and_clear();
                return Ok(Ended::Written(manifest));
            }
            ("expired", _) => return Ok(Ended::Gone),
            ("failed", _) => {
                let why = error.map_or_else(String::new, |error| format!(": {error}"));
                return Ok(Ended::Badly(format!("export {export_id} failed{why}")));
            }
            ("cancelled", _) => return Ok(Ended::Badly(format!("export {export_id} was cancelled"))),
            _ => {}
        }
        if !output.interactive() && rows_done > said {
            said = rows_done;
            let of = rows_estimated.map_or_else(String::new, |rows| format!(" of about {}", grouped(rows)));
            output.say(&format!("{} rows{of}", grouped(rows_done)));
        }
        sleep(pause).await;
    }
}

fn is_unknown(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status() == reqwest::StatusCode::NOT_FOUND)
}

/// Fetches what is missing of the file. What breaks off goes on; an address that has become too old is replaced.
async fn download(
    api: &Api,
    note: &Note,
    record: &mut Record,
    manifest: &Manifest,
    part: &Path,
    output: &Output,
) -> anyhow::Result<()> {
    let export_id = record.export_id.context("an export without an id")?;
    let cannot_write = || format!("cannot write {}", part.display());
    let mut file =
        OpenOptions::new().create(true).truncate(false).write(true).open(part).await.with_context(cannot_write)?;
    let mut at = file.seek(std::io::SeekFrom::End(0)).await.with_context(cannot_write)?;
    if record.etag.is_none() || at > manifest.bytes {
        file.set_len(0).await.with_context(cannot_write)?;
        at = file.seek(std::io::SeekFrom::Start(0)).await.with_context(cannot_write)?;
    }
    let bar = output.bar(manifest.bytes, Bar::Bytes).with_prefix("fetched");
    let mut address: Option<String> = None;
    let mut tries = 0;
    while at < manifest.bytes {
        let before = at;
        let here = match &address {
            Some(here) => here,
            None => address.insert(api.export_address(record.tenant_id, export_id).await?),
        };
        let failure = match api.export_range(here, at, record.etag.as_deref()).await {
            Ok(Range::TooOld) => {
                address = None;
                anyhow!("storage refuses its address")
            }
            Ok(Range::Body { mut response, is_whole, etag }) => {
                if is_whole && at > 0 {
                    file.set_len(0).await.with_context(cannot_write)?;
                    at = file.seek(std::io::SeekFrom::Start(0)).await.with_context(cannot_write)?;
                }
                if record.etag != etag {
                    record.etag = etag;
                    note.write(record)?;
                }
                bar.set_position(at);
                loop {
                    match response.chunk().await.map_err(reqwest::Error::without_url) {
                        Ok(Some(bytes)) => {
                            file.write_all(&bytes).await.with_context(cannot_write)?;
                            at += bytes.len() as u64;
                            bar.set_position(at);
                        }
                        Ok(None) => break anyhow!("the file broke off"),
                        Err(error) => break error.into(),
                    }
                }
            }
            Err(error) => error,
        };
        file.flush().await.with_context(cannot_write)?;
        tries = if at > before { 0 } else { tries + 1 };
        if at < manifest.bytes {
            if tries == TRIES {
                return Err(failure.context("the file does not come; the same command goes on"));
            }
            sleep(Duration::from_millis(250 << tries)).await;
        }
    }
    file.sync_all().await.with_context(cannot_write)?;
    bar.finish_and_clear();
    Ok(())
}

/// The digest of a file in hexadecimal.
async fn sha256(path: &Path) -> anyhow::Result<String> {
    let context = || format!("cannot read {}", path.display());
    let mut file = fs::File::open(path).await.with_context(context)?;
    let (mut digest, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer).await.with_context(context)? {
            0 => return Ok(hex::encode(digest.finalize())),
            length => digest.update(&buffer[..length]),
        }
    }
}

#[cfg(test)]
mod tests;
