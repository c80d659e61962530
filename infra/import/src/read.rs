//! Reads the source to its end, into files of lines, or only to see what is wrong with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use crate::predecessor::{Figures, Plan, Source, Table, Tenant};
use anyhow::{Context, ensure};
use indicatif::ProgressBar;
use intake_domain::{dataset, row};
use uuid::Uuid;

use crate::Wanted;
use crate::folder::{self, Folder, Import, Imported, Part};
use intake::output::{Bar, Output, grouped};

/// A file ends with the line that makes it larger than this. Chunks are cut by the server; this only bounds what is sent again
/// when a file was changed or lost.
const FILE_BYTES: u64 = 1 << 30;

/// Rows between two looks at the bar.
const ROWS_AT_ONCE: u64 = 1_000;

/// Reads everything into the folder's files.
pub(super) async fn read(
    source: &mut Source,
    wanted: &Wanted,
    folder: &Folder,
    output: &Output,
) -> anyhow::Result<Import> {
    let begun = Instant::now();
    let (plan, tenants, mut import) = look(source, wanted).await?;
    let (draft, files) = (folder.dir().join("files.new"), folder.files());
    folder::make_empty(&draft)?;
    let bar = output.bar(rows_to_read(&import), Bar::Steps).with_prefix("reading");
    let mut written = Vec::new();
    for imported in &mut import.tenants {
        let Some(tenant) = tenants.iter().find(|tenant| tenant.id == imported.id) else { continue };
        let mut writer = Writer::new(draft.clone(), tenant.id);
        for table in plan.tables().filter(|table| *table != Table::Tenants) {
            writer.begin(table);
            let figures = lines(source, &plan, table, tenant, &bar, &mut |line| writer.write(line)).await?;
            writer.end()?;
            imported.read.insert(table, figures);
        }
        say(output, imported);
        written.push(writer.files);
    }
    bar.finish_and_clear();
    // half of what there is must not be taken for all of it
    let _ = fs::remove_dir_all(&files);
    fs::rename(&draft, &files).with_context(|| format!("cannot move {}", draft.display()))?;
    for (imported, written) in import.tenants.iter_mut().zip(written) {
        for Written { table, name, rows } in written {
            imported.parts.push(Part::look(table, &files.join(name), rows)?);
        }
    }
    import.read_seconds = begun.elapsed().as_secs_f64();
    Ok(import)
}

/// Reads everything, and notes what the server would refuse of it.
pub(super) async fn check(source: &mut Source, wanted: &Wanted, output: &Output) -> anyhow::Result<Import> {
    let begun = Instant::now();
    let (plan, tenants, mut import) = look(source, wanted).await?;
    let bar = output.bar(rows_to_read(&import), Bar::Steps).with_prefix("reading");
    let now = jiff::Timestamp::now().as_microsecond();
    for tenant in tenants {
        let Some(imported) = import.tenants.iter_mut().find(|imported| imported.id == tenant.id) else { continue };
        for table in plan.tables().filter(|table| *table != Table::Tenants) {
            let known = dataset::by_name(table.dataset()).context("a table that is no dataset")?;
            let (mut refused, mut codes) = (0, BTreeMap::<String, u64>::new());
            let mut validate = |line: &[u8]| {
                if let Err(why) = row::parse(known, tenant.id, line).and_then(|row| known.receive(row, now)) {
                    refused += 1;
                    for error in why.errors {
                        *codes.entry(error.code.as_str().to_owned()).or_default() += 1;
                    }
                }
                Ok(())
            };
            let figures = lines(source, &plan, table, &tenant, &bar, &mut validate).await?;
            imported.read.insert(table, figures);
            imported.codes.insert(table, (refused, codes));
        }
        say(output, imported);
    }
    bar.finish_and_clear();
    import.read_seconds = begun.elapsed().as_secs_f64();
    Ok(import)
}

/// What there is, before any of it is read.
async fn look(source: &mut Source, wanted: &Wanted) -> anyhow::Result<(Plan, Vec<Tenant>, Import)> {
    let plan = source.plan(&wanted.names).await?;
    let read_at = folder::now();
    let mut notes = plan.notes.clone();
    if !source.is_snapshot() {
        notes.push("the database allows no snapshot: what changes while it is read may not fit together".to_owned());
    }
    let known = source.tenants(&plan).await?;
    let mut tenants = Vec::new();
    for Tenant { id, name, key_hash, .. } in known.iter().cloned() {
        if !wanted.tenants.is_empty() && !wanted.tenants.contains(&id) {
            continue;
        }
        if key_hash.is_none() {
            notes.push(format!(
                "tenant {id} has no key that can be taken over: its hash is not 64 hexadecimal digits in lower case; \
                 `cargo intake tenants rotate-key {id}` gives it one"
            ));
        }
        tenants.push(Imported {
            id,
            name,
            key_hash,
            parts: Vec::new(),
            source: BTreeMap::new(),
            read: BTreeMap::new(),
            codes: BTreeMap::new(),
            is_sent: false,
            sessions: Vec::new(),
            accounts: BTreeMap::new(),
        });
    }
    for wanted in &wanted.tenants {
        ensure!(tenants.iter().any(|tenant| tenant.id == *wanted), "the source has no tenant {wanted}");
    }
    let mut unowned = BTreeMap::new();
    for table in plan.tables().filter(|table| *table != Table::Tenants) {
        for tenant in &mut tenants {
            tenant.source.insert(table, Figures::default());
        }
        for total in source.totals(&plan, table).await? {
            let owner = total.tenant.filter(|id| known.iter().any(|tenant| tenant.id == *id));
            match owner {
                None => *unowned.entry(table).or_default() += total.figures.rows,
                Some(id) => {
                    if let Some(tenant) = tenants.iter_mut().find(|tenant| tenant.id == id) {
                        tenant.source.entry(table).or_default().extend(&total.figures);
                    }
                }
            }
        }
    }
    let import = Import {
        from: wanted.location.to_string(),
        api_url: wanted.api_url.clone(),
        names: wanted.names.clone(),
        only: wanted.tenants.clone(),
        on_missing_reference: wanted.on_missing_reference,
        read_at,
        read_seconds: 0.0,
        notes,
        unowned,
        tenants,
        finished_at: None,
    };
    Ok((plan, known, import))
}

fn rows_to_read(import: &Import) -> u64 {
    import.tenants.iter().flat_map(|tenant| tenant.source.values()).map(|figures| figures.rows).sum()
}

fn say(output: &Output, tenant: &Imported) {
    let rows = tenant.read.values().map(|figures| figures.rows).sum();
    output.say(&format!("{}  {}: {} rows read", tenant.id, tenant.name, grouped(rows)));
}

/// The lines of a tenant's rows, one by one; what they come to.
async fn lines(
    source: &mut Source,
    plan: &Plan,
    table: Table,
    tenant: &Tenant,
    bar: &ProgressBar,
    take: &mut (dyn FnMut(&[u8]) -> io::Result<()> + Send),
) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let mut count = |line: &[u8]| {
        figures.count(table, line);
        if figures.rows.is_multiple_of(ROWS_AT_ONCE) {
            bar.inc(ROWS_AT_ONCE);
        }
        take(line)
    };
    source.lines(plan, table, tenant, &mut count).await?;
    bar.inc(figures.rows % ROWS_AT_ONCE);
    Ok(figures)
}

/// Writes a tenant's lines into files, named as data files are.
struct Writer {
    dir: PathBuf,
    tenant: Uuid,
    table: Table,
    /// How many files each dataset has so far: levels are sent as events, after them.
    numbers: BTreeMap<&'static str, u32>,
    open: Option<Open>,
    files: Vec<Written>,
}

struct Open {
    file: BufWriter<File>,
    name: String,
    rows: u64,
    bytes: u64,
}

struct Written {
    table: Table,
    name: String,
    rows: u64,
}

impl Writer {
    fn new(dir: PathBuf, tenant: Uuid) -> Self {
        Self { dir, tenant, table: Table::Tenants, numbers: BTreeMap::new(), open: None, files: Vec::new() }
    }

    fn begin(&mut self, table: Table) {
        self.table = table;
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        open.file.write_all(line)?;
        open.file.write_all(b"\n")?;
        open.rows += 1;
        open.bytes += line.len() as u64 + 1;
        let is_full = open.bytes >= FILE_BYTES;
        self.open = Some(open);
        if is_full { self.end() } else { Ok(()) }
    }

    fn create(&mut self) -> io::Result<Open> {
        let dataset = self.table.dataset();
        let number = self.numbers.entry(dataset).or_default();
        let name = format!("{dataset}_{}_chunk_{number:04}.ndjson", self.tenant);
        *number += 1;
        let file = folder::create(&self.dir.join(&name))?;
        Ok(Open { file: BufWriter::with_capacity(1 << 20, file), name, rows: 0, bytes: 0 })
    }

    /// Ends the file that is open; one without rows was never begun.
    fn end(&mut self) -> io::Result<()> {
        let Some(Open { file, name, rows, .. }) = self.open.take() else { return Ok(()) };
        file.into_inner()?.sync_all()?;
        self.files.push(Written { table: self.table, name, rows });
        Ok(())
    }
}
