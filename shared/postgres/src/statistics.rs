//! What the planner knows of a tenant that has just sent a lot: see `migrations/0020_statistics.sql`.

use crate::database::Scope;
use crate::{Error, database::Parameter};
use std::collections::BTreeMap;
use tokio_postgres::types::Type;

/// Fewer rows than that are found fast whatever the planner expects.
const MANY: i64 = 1_000;

/// The partitions that a promotion has put rows into, with how many: one that replaces another counts, too.
#[derive(Clone, Debug, Default)]
pub struct Grown(BTreeMap<String, i64>);

impl Grown {
    /// So many rows were put in.
    pub(crate) fn add(&mut self, leaf: String, rows: usize) {
        *self.0.entry(leaf).or_default() += i64::try_from(rows).unwrap_or(i64::MAX);
    }

    /// How many rows there are in all of them.
    pub(crate) fn rows(&self) -> i64 {
        self.0.values().sum()
    }
}

/// Has the partitions analyzed of which the planner does not expect what the tenant has there, and says how many were. It is to
/// be asked in a transaction of its own: nobody else analyzes or vacuums them until that ends.
///
/// # Errors
/// Any [`Error`] of the database.
pub async fn learn(scope: &Scope<'_>, grown: &Grown) -> Result<i64, Error> {
    let (leaves, rows): (Vec<&str>, Vec<i64>) =
        grown.0.iter().filter(|(_, rows)| **rows >= MANY).map(|(leaf, rows)| (leaf.as_str(), *rows)).unzip();
    if leaves.is_empty() {
        return Ok(0);
    }
    let with: [Parameter<'_>; 2] = [(&leaves, Type::TEXT_ARRAY), (&rows, Type::INT8_ARRAY)];
    let row = scope.query_opt("statistics/learn", include_str!("../queries/statistics/learn.sql"), &with).await?;
    Ok(row.ok_or(Error::Corrupt("no count"))?.get("analyzed"))
}
