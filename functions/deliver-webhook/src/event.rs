//! What a shop is told.

use intake_domain::state::session_state;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{FileStatus, RowCounts};
use intake_postgres::webhooks::Delivery;
use serde::Serialize;
use uuid::Uuid;

/// The body of a call, the same in every attempt.
#[derive(Serialize)]
pub(crate) struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    /// When the session ended.
    timestamp: String,
    data: Session<'a>,
}

#[derive(Serialize)]
struct Session<'a> {
    upload_token: Uuid,
    upload_id: Uuid,
    state: &'static str,
    /// The state in the words of the predecessor.
    status: &'static str,
    rows: Rows,
    files: Vec<File<'a>>,
}

#[derive(Serialize)]
struct File<'a> {
    file_id: Uuid,
    name: &'a str,
    dataset: &'a str,
    state: &'static str,
    rows: Rows,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Rows {
    accepted: i64,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    rejected: i64,
}

impl From<RowCounts> for Rows {
    fn from(counts: RowCounts) -> Self {
        let RowCounts { accepted, inserted, updated, unchanged, rejected, .. } = counts;
        Self { accepted, inserted, updated, unchanged, rejected }
    }
}

impl Rows {
    fn add(mut self, other: Self) -> Self {
        self.accepted += other.accepted;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self
    }
}

impl<'a> Event<'a> {
    /// The end of a session.
    pub(crate) fn finished(delivery: &'a Delivery) -> Self {
        let files = &delivery.files;
        // all its files have ended: neither its age nor who asked for the end matters any more
        let state = session_state(files.iter().map(|file| file.state), false, false);
        Self {
            kind: "ingest.session.finished",
            timestamp: rfc3339(delivery.ended_at),
            data: Session {
                upload_token: delivery.upload_token,
                upload_id: delivery.session_id,
                state: state.as_str(),
                status: state.legacy(),
                rows: files.iter().map(|file| Rows::from(file.rows)).fold(Rows::default(), Rows::add),
                files: files.iter().map(File::from).collect(),
            },
        }
    }
}

impl<'a> From<&'a FileStatus> for File<'a> {
    fn from(file: &'a FileStatus) -> Self {
        Self {
            file_id: file.file_id,
            name: &file.name,
            dataset: &file.dataset,
            state: file.state.as_str(),
            rows: file.rows.into(),
        }
    }
}
