//! The ledger of uploads. Every function runs inside the scope of a transaction; none commits. All fail with any
//! [`Error`] of the database.

mod chunks;
mod control;
mod files;
mod rejects;
mod sessions;
mod status;

pub use chunks::*;
pub use control::*;
pub use files::*;
pub use rejects::*;
pub use sessions::*;
pub use status::*;

/// A statement of the ledger: its name and its text.
macro_rules! sql {
    ($name:literal) => {
        ($name, include_str!(concat!("../../queries/ledger/", $name, ".sql")))
    };
}
use sql;

use crate::Error;
use intake_domain::format::{Compression, Format, Layout};
use intake_domain::state::FileState;
use intake_domain::tolerance::Tolerance;
use intake_domain::trace::TraceId;
use intake_domain::{Dataset, dataset};
use tokio_postgres::Row;

fn state(row: &Row) -> Result<FileState, Error> {
    FileState::parse(row.get("state")).ok_or(Error::Corrupt("a file in an unknown state"))
}

fn dataset(row: &Row) -> Result<&'static Dataset, Error> {
    dataset::by_name(row.get("dataset")).ok_or(Error::Corrupt("a file of an unknown dataset"))
}

fn read_format(row: &Row) -> Result<Format, Error> {
    let format = Layout::parse(row.get("layout")).zip(Compression::parse(row.get("compression")));
    let (layout, compression) = format.ok_or(Error::Corrupt("a file of an unknown format"))?;
    Ok(Format { layout, compression })
}

/// The trace of a session, if it is known.
pub(crate) fn trace(row: &Row) -> Option<TraceId> {
    row.get::<_, Option<&str>>("trace_id").and_then(TraceId::parse)
}

/// How a policy stands in its columns.
struct Tolerances;

impl Tolerances {
    /// The columns `max_rejects` and `max_rejects_basis_points`.
    fn split(tolerance: Tolerance) -> (Option<i64>, Option<i32>) {
        match tolerance {
            Tolerance::Any => (None, None),
            Tolerance::Count(most) => (Some(i64::try_from(most).unwrap_or(i64::MAX)), None),
            Tolerance::BasisPoints(points) => (None, i32::try_from(points).ok()),
        }
    }

    fn join(row: &Row) -> Tolerance {
        let count = row.get::<_, Option<i64>>("max_rejects").and_then(|most| u64::try_from(most).ok());
        let share = row.get::<_, Option<i32>>("max_rejects_basis_points").and_then(|points| u32::try_from(points).ok());
        match (count, share) {
            (Some(most), _) => Tolerance::Count(most),
            (None, Some(points)) => Tolerance::BasisPoints(points),
            (None, None) => Tolerance::Any,
        }
    }

    fn policy(row: &Row) -> Policy {
        Policy { tolerance: Self::join(row), reject_missing_references: row.get("reject_missing_references") }
    }
}
