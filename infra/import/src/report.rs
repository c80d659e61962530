//! What came of an import, for people and for scripts.

use std::collections::BTreeMap;

use crate::predecessor::{Line, Table, reconcile};
use serde::Serialize;
use uuid::Uuid;

use crate::folder::{Import, Imported};
use intake::output::{Verdict, grouped, table};

/// What came of an import.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The source, without a password.
    pub from: String,
    /// The moment of which the rows are.
    pub read_at: String,
    /// How long reading took.
    pub read_seconds: f64,
    /// When all was there and agreed; nothing while it does not.
    pub finished_at: Option<String>,
    /// Whether nothing was sent, and rows were only looked at.
    pub dry_run: bool,
    /// Rows of which nobody knows whose they are, by their table.
    pub unowned: BTreeMap<Table, u64>,
    /// The tenants.
    pub tenants: Vec<TenantReport>,
}

/// What came of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct TenantReport {
    /// Its id.
    pub tenant_id: Uuid,
    /// Its name.
    pub name: String,
    /// The upload tokens of its sessions.
    pub upload_tokens: Vec<String>,
    /// Why it could not be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its tables.
    pub tables: BTreeMap<Table, TableReport>,
}

/// What came of the rows of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableReport {
    /// How many the source counts.
    pub source_rows: u64,
    /// How many were read.
    pub read_rows: u64,
    /// How many were taken in.
    pub promoted: u64,
    /// How many were refused.
    pub rejected: u64,
    /// For what, and how often.
    pub codes: BTreeMap<String, u64>,
    /// How many of them Intake has.
    pub intake_rows: u64,
    /// Rows that Intake has besides.
    pub others: u64,
    /// Amounts that had more than two decimals.
    pub rounded: u64,
    /// Both sides held against each other.
    pub compared: Vec<Line>,
}

impl Report {
    /// The report of an import as far as it is, with why tenants could not be sent.
    pub(super) fn new(import: &Import, failures: &BTreeMap<Uuid, String>) -> Self {
        Self::of(import, false, |tenant| {
            let error = failures.get(&tenant.id).cloned();
            let tables = tenant.accounts.iter().map(|(table, account)| {
                let report = TableReport {
                    source_rows: account.source.rows,
                    read_rows: account.read.rows,
                    promoted: account.promoted,
                    rejected: account.rejected.rows,
                    codes: account.codes.clone(),
                    intake_rows: account.intake.rows,
                    others: account.others,
                    rounded: account.read.rounded,
                    compared: reconcile(*table, account),
                };
                (*table, report)
            });
            (error, tables.collect())
        })
    }

    /// The report of what was only looked at.
    pub(super) fn of_check(import: &Import) -> Self {
        Self::of(import, true, |tenant| {
            let tables = tenant.read.iter().map(|(table, read)| {
                let (rejected, codes) = tenant.codes.get(table).cloned().unwrap_or_default();
                let report = TableReport {
                    source_rows: tenant.source.get(table).map_or(0, |source| source.rows),
                    read_rows: read.rows,
                    rejected,
                    codes,
                    rounded: read.rounded,
                    ..TableReport::default()
                };
                (*table, report)
            });
            (None, tables.collect())
        })
    }

    fn of(
        import: &Import,
        dry_run: bool,
        look: impl Fn(&Imported) -> (Option<String>, BTreeMap<Table, TableReport>),
    ) -> Self {
        let describe = |tenant: &Imported| {
            let (error, tables) = look(tenant);
            let (tenant_id, name) = (tenant.id, tenant.name.clone());
            TenantReport { tenant_id, name, upload_tokens: tenant.sessions.clone(), error, tables }
        };
        Self {
            from: import.from.clone(),
            read_at: import.read_at.clone(),
            read_seconds: import.read_seconds,
            finished_at: import.finished_at.clone(),
            dry_run,
            unowned: import.unowned.clone(),
            tenants: import.tenants.iter().map(describe).collect(),
        }
    }

    /// How it ended: failed where a tenant could not be sent or both sides do not agree; with rejects where rows were refused, or
    /// are nobody's, and all others agree.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let tables = || self.tenants.iter().flat_map(|tenant| tenant.tables.values());
        let disagrees = |table: &TableReport| table.compared.iter().any(|line| !line.disagreements.is_empty());
        if self.tenants.iter().any(|tenant| tenant.error.is_some()) || tables().any(disagrees) {
            return Verdict::Failed;
        }
        match tables().any(|table| table.rejected > 0) || self.unowned.values().any(|rows| *rows > 0) {
            true => Verdict::Rejected,
            false => Verdict::Good,
        }
    }

    /// What is to be said of it, in lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for tenant in &self.tenants {
            lines.push(format!("{}  {}", tenant.tenant_id, tenant.name));
            if let Some(error) = &tenant.error {
                lines.push(format!("  was not sent: {error}"));
            }
            lines.extend(tenant.lines(self.dry_run).into_iter().map(|line| format!("  {line}")));
        }
        for (table, rows) in self.unowned.iter().filter(|(_, rows)| **rows > 0) {
            lines.push(format!("{} rows of {table} belong to no tenant, and were not imported", grouped(*rows)));
        }
        lines
    }
}

impl TenantReport {
    fn lines(&self, dry_run: bool) -> Vec<String> {
        let mut lines = Vec::new();
        if dry_run {
            let header = ["table", "rows", "to be refused"].map(str::to_owned);
            let rows = self
                .tables
                .iter()
                .map(|(name, table)| [name.to_string(), grouped(table.read_rows), grouped(table.rejected)]);
            lines.extend(table([header].into_iter().chain(rows)));
        } else if !self.tables.is_empty() {
            let header = ["table", "compared", "source", "refused", "in Intake", ""].map(str::to_owned);
            let rows = self.tables.iter().flat_map(|(name, table)| {
                table.compared.iter().map(|line| {
                    let Line { measure, source, rejected, intake, disagreements } = line;
                    let agrees = if disagreements.is_empty() { "agrees" } else { "DOES NOT AGREE" };
                    let [source, rejected, intake] = [source, rejected, intake].map(String::clone);
                    [name.to_string(), measure.clone(), source, rejected, intake, agrees.to_owned()]
                })
            });
            lines.extend(table([header].into_iter().chain(rows)));
        }
        for (name, table) in &self.tables {
            for line in &table.compared {
                lines.extend(line.disagreements.iter().map(|why| format!("{name}, {}: {why}", line.measure)));
            }
            lines.extend(table.codes.iter().map(|(code, rows)| format!("{name}: {} times {code}", grouped(*rows))));
            if table.rounded > 0 {
                let rounded = grouped(table.rounded);
                lines.push(format!("{name}: {rounded} amounts have more than two decimals, and are rounded to them"));
            }
            if table.others > 0 {
                lines.push(format!("{name}: Intake has {} rows besides", grouped(table.others)));
            }
        }
        lines
    }
}
