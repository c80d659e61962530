//! A tenant's uploads over time, as the ledger has them. Every function runs inside the scope of a transaction; none commits. All
//! fail with any [`Error`] of the database.

use crate::Error;
use crate::database::{Parameter, Scope};
use crate::micros::Micros;
use intake_domain::sales::period::{Bucket, Period};
use std::collections::BTreeMap;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

macro_rules! sql {
    ($name:literal) => {
        (concat!("ingest_metrics/", $name), include_str!(concat!("../queries/ingest_metrics/", $name, ".sql")))
    };
}

/// Files that have ended, and what became of their rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Uploads {
    /// How many files have ended.
    pub files: i64,
    /// How many of these failed, expired or were cancelled.
    pub files_not_completed: i64,
    /// Their bytes, as they were uploaded.
    pub bytes: i64,
    /// The seconds from each file's arrival to its end, added up.
    pub seconds: f64,
    /// Rows that were read.
    pub accepted: i64,
    /// Rows that were new.
    pub inserted: i64,
    /// Rows that replaced others.
    pub updated: i64,
    /// Rows that were there already.
    pub unchanged: i64,
    /// Rows that were refused.
    pub rejected: i64,
    /// How many refused rows have each code.
    pub rejects_by_code: BTreeMap<String, i64>,
}

/// The uploads that ended in a span, dry runs left out: in all, and in each of these days or hours in which any did, by their
/// places.
pub async fn uploads(
    scope: &Scope<'_>,
    period: Period,
    buckets: &[Bucket],
) -> Result<(Uploads, BTreeMap<usize, Uploads>), Error> {
    let (tenant, start, end) = (scope.tenant(), Micros(period.start), Micros(period.end));
    let starts: Vec<_> = buckets.iter().map(|bucket| Micros(bucket.start)).collect();
    let with: [Parameter<'_>; 4] = [
        (&tenant, Type::UUID),
        (&start, Type::TIMESTAMPTZ),
        (&end, Type::TIMESTAMPTZ),
        (&starts, Type::TIMESTAMPTZ_ARRAY),
    ];
    // the first bucket has the number 1, and what begins before it is its own
    let place = |row: &Row| usize::try_from(row.get::<_, i32>("bucket") - 1).unwrap_or(0);
    let (mut total, mut by_time) = (Uploads::default(), BTreeMap::<usize, Uploads>::new());
    let (name, sql) = sql!("uploads");
    for row in scope.query(name, sql, &with).await? {
        let uploads = Uploads {
            files: row.get("files"),
            files_not_completed: row.get("files_not_completed"),
            bytes: row.get("bytes"),
            seconds: row.get("seconds"),
            accepted: row.get("accepted"),
            inserted: row.get("inserted"),
            updated: row.get("updated"),
            unchanged: row.get("unchanged"),
            rejected: row.get("rejected"),
            rejects_by_code: BTreeMap::new(),
        };
        if row.get("is_total") {
            total = uploads;
        } else {
            by_time.insert(place(&row), uploads);
        }
    }
    let (name, sql) = sql!("rejects");
    for row in scope.query(name, sql, &with).await? {
        let (code, rows): (Option<String>, i64) = (row.get("code"), row.get("rows"));
        let code = code.ok_or(Error::Corrupt("a reject without a code"))?;
        *total.rejects_by_code.entry(code.clone()).or_default() += rows;
        by_time.entry(place(&row)).or_default().rejects_by_code.insert(code, rows);
    }
    Ok((total, by_time))
}
