//! What became of a tenant's rows: what was refused, and what Intake has of the others.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::predecessor::{Account, Figures, Sum, Table};
use anyhow::{Context, ensure};
use intake_postgres::{Database, admin, import};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::folder::{self, Folder, Imported};
use intake::api::Api;
use intake::output::{Bar, Output};

/// Rows that are looked for at once.
const IDS_AT_ONCE: usize = 10_000;

/// What the server says of a tenant's files once they are done.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Taken {
    /// How many rows of each file are in.
    promoted: BTreeMap<String, u64>,
    /// How many were refused.
    rejected: BTreeMap<String, u64>,
}

/// As much of a refused row as is looked at.
#[derive(Deserialize)]
struct Reject {
    file: String,
    line: u64,
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
}

/// Where what was refused of a tenant's rows is kept, a file for each dataset, named so that it can be sent once it is mended.
pub(super) struct Rejected {
    dir: PathBuf,
    tenant: Uuid,
    files: BTreeMap<String, BufWriter<File>>,
    taken: Taken,
    count: u64,
}

impl Rejected {
    /// Begins anew, whatever an earlier attempt has left.
    pub(super) fn create(folder: &Folder, tenant: Uuid) -> anyhow::Result<Self> {
        let dir = folder.rejects();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        for table in Table::OF_TENANTS {
            match fs::remove_file(dir.join(name(table.dataset(), tenant))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(Self { dir, tenant, files: BTreeMap::new(), taken: Taken::default(), count: 0 })
    }

    /// Fetches what a session refused, and how many rows of each file it took.
    pub(super) async fn fetch(&mut self, api: &Api, token: &str) -> anyhow::Result<()> {
        let (status, _) = api.status(token, Duration::ZERO).await?;
        ensure!(status.terminal(), "session {token} has not ended");
        for file in status.files {
            self.taken.promoted.insert(file.name.clone(), file.rows.promoted);
            self.taken.rejected.insert(file.name, file.rows.rejected);
        }
        let mut cursor = None;
        loop {
            cursor = api.rejects(token, cursor.as_deref(), self).await?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Notes all of it; answers how many rows were refused.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        for file in self.files.values_mut() {
            file.flush()?;
        }
        let path = self.dir.join(format!("{}.json", self.tenant));
        let mut note = BufWriter::new(File::create(&path)?);
        serde_json::to_writer(&mut note, &self.taken)?;
        note.into_inner()?.sync_all().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(self.count)
    }
}

/// Takes whole lines, as they come.
impl Write for Rejected {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let reject: Reject = serde_json::from_slice(line)?;
        let dataset = Table::OF_TENANTS
            .into_iter()
            .map(Table::dataset)
            .find(|dataset| reject.file.starts_with(&format!("{dataset}_{}", self.tenant)))
            .ok_or_else(|| io::Error::other(format!("{} is no file of this import", reject.file)))?;
        let name = name(dataset, self.tenant);
        if !self.files.contains_key(&name) {
            let file = folder::create(&self.dir.join(&name))?;
            self.files.insert(name.clone(), BufWriter::new(file));
        }
        if let Some(file) = self.files.get_mut(&name) {
            file.write_all(line)?;
        }
        self.count += 1;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.files.values_mut().try_for_each(Write::flush)
    }
}

fn name(dataset: &str, tenant: Uuid) -> String {
    format!("{dataset}_{tenant}.ndjson")
}

/// Holds what was read and refused of a tenant against what there is, row by row by its id.
pub(super) async fn settle(
    database: &Database,
    database_url: &str,
    folder: &Folder,
    tenant: &Imported,
    output: &Output,
) -> anyhow::Result<BTreeMap<Table, Account>> {
    let mut accounts = BTreeMap::<Table, Account>::new();
    for (table, source) in &tenant.source {
        let read = tenant.read.get(table).cloned().unwrap_or_default();
        accounts.insert(*table, Account { source: source.clone(), read, ..Account::default() });
    }
    let taken = taken(folder, tenant)?;
    let rejects = rejects(folder, tenant)?;
    let rows = tenant.parts.iter().map(|part| part.rows).sum();
    let bar = output.bar(rows, Bar::Steps).with_prefix("comparing");
    for part in &tenant.parts {
        part.file.ensure_unchanged()?;
        let account = accounts.entry(part.table).or_default();
        account.promoted += taken.promoted.get(&part.file.name).copied().unwrap_or_default();
        let empty = BTreeMap::new();
        let refused = rejects.get(&part.file.name).unwrap_or(&empty);
        for codes in refused.values() {
            for code in codes {
                *account.codes.entry(code.clone()).or_default() += 1;
            }
        }
        let file = File::open(&part.file.path);
        let mut lines = BufReader::with_capacity(1 << 20, file.with_context(|| part.file.path.display().to_string())?);
        let (mut line, mut number, mut ids, mut accepted) = (Vec::new(), 0, Vec::new(), Figures::default());
        loop {
            line.clear();
            let ended = lines.read_until(b'\n', &mut line)? == 0;
            if ids.len() == IDS_AT_ONCE || (ended && !ids.is_empty()) {
                let found = import::figures(database, tenant.id, part.table.name(), &ids).await?;
                account.intake.extend(&figures(found)?);
                bar.inc(ids.len() as u64);
                ids.clear();
            }
            if ended {
                break;
            }
            number += 1;
            if refused.contains_key(&number) {
                account.rejected.count(part.table, &line);
            } else {
                ids.extend(accepted.count(part.table, &line));
            }
        }
    }
    bar.finish_and_clear();
    let mut client = intake_postgres::connect(database_url).await?;
    let counts = admin::count_rows(&mut client, tenant.id).await?;
    let found = |table: Table, accounts: &BTreeMap<Table, Account>| {
        accounts.get(&table).map_or(0, |account| account.intake.rows)
    };
    for table in tenant.source.keys().copied().filter(|table| *table != Table::StockLevels) {
        let all = counts.get(table.name()).copied().and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
        // levels came as events, too
        let levels = if table == Table::StockEvents { found(Table::StockLevels, &accounts) } else { 0 };
        let others = all.saturating_sub(found(table, &accounts)).saturating_sub(levels);
        accounts.entry(table).or_default().others = others;
    }
    Ok(accounts)
}

fn figures(found: Vec<(String, String)>) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    for (measure, total) in found {
        match measure.as_str() {
            "rows" => figures.rows = total.parse()?,
            _ => {
                let sum: Sum = total.parse().map_err(anyhow::Error::msg)?;
                figures.sums.insert(measure, sum);
            }
        }
    }
    Ok(figures)
}

fn taken(folder: &Folder, tenant: &Imported) -> anyhow::Result<Taken> {
    if tenant.parts.is_empty() {
        return Ok(Taken::default());
    }
    let path = folder.rejects().join(format!("{}.json", tenant.id));
    let context = || format!("cannot read {}", path.display());
    serde_json::from_slice(&fs::read(&path).with_context(context)?).with_context(context)
}

/// The refused lines of each file, and for what.
fn rejects(folder: &Folder, tenant: &Imported) -> anyhow::Result<HashMap<String, BTreeMap<u64, Vec<String>>>> {
    let mut rejects = HashMap::<String, BTreeMap<u64, Vec<String>>>::new();
    let datasets: std::collections::BTreeSet<_> = Table::OF_TENANTS.into_iter().map(Table::dataset).collect();
    for dataset in datasets {
        let path = folder.rejects().join(name(dataset, tenant.id));
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let Reject { file, line: number, errors } =
                serde_json::from_slice(&line).with_context(|| format!("cannot read {}", path.display()))?;
            let codes = errors.into_iter().map(|error| error.code).collect();
            rejects.entry(file).or_default().insert(number, codes);
            line.clear();
        }
    }
    Ok(rejects)
}
