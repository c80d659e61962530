//! What the API says.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Add;

use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// A new session, and where its files go.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// What the session is known by.
    pub upload_token: String,
    /// One for each file that was named.
    pub files: Vec<SessionFile>,
}

/// A file that the session waits for.
#[derive(Clone, Debug, Deserialize)]
pub struct SessionFile {
    /// As it was given.
    pub name: String,
    /// How it is sent.
    pub upload: Upload,
}

/// How a file is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Upload {
    /// Whole.
    Put {
        /// Where to.
        url: String,
        /// Headers that the address is signed for.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// In parts, then declared complete.
    Multipart {
        /// Size of all parts but the last.
        part_size_bytes: u64,
        /// All parts.
        parts: Vec<Part>,
        /// Where to declare it, below the API's address.
        complete_path: String,
    },
}

/// A part of a file.
#[derive(Clone, Debug, Deserialize)]
pub struct Part {
    /// Counted from 1.
    pub part_number: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Where to.
    pub url: String,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rows {
    /// Taken in.
    pub accepted: u64,
    /// New.
    pub inserted: u64,
    /// Changed.
    pub updated: u64,
    /// The same as before.
    pub unchanged: u64,
    /// Inserted, updated or unchanged.
    pub promoted: u64,
    /// Refused, each with its reasons.
    pub rejected: u64,
}

impl Add for Rows {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            inserted: self.inserted + other.inserted,
            updated: self.updated + other.updated,
            unchanged: self.unchanged + other.unchanged,
            promoted: self.promoted + other.promoted,
            rejected: self.rejected + other.rejected,
        }
    }
}

/// A session's state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// What the session is known by.
    pub upload_token: String,
    /// Where it stands.
    pub state: String,
    /// Whether nothing is to be promoted.
    pub dry_run: bool,
    /// Chunks known so far.
    pub total_chunks: u64,
    /// Chunks done.
    pub completed_chunks: u64,
    /// Chunks given up.
    pub failed_chunks: u64,
    /// Rows read.
    pub total_rows: u64,
    /// When it was made.
    pub created_at: Option<String>,
    /// When it last changed.
    pub last_activity: Option<String>,
    /// When its token ends.
    pub expires_at: Option<String>,
    /// What became of its rows.
    pub rows: Rows,
    /// Its files.
    pub files: Vec<FileStatus>,
}

/// A file's state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FileStatus {
    /// As it was given.
    pub name: String,
    /// What it holds.
    pub dataset: String,
    /// Where it stands.
    pub state: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its chunks.
    pub chunks: Chunks,
    /// What became of its rows.
    pub rows: Rows,
    /// Why it failed.
    pub error: Option<Cause>,
}

/// Where chunks stand.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Chunks {
    /// All.
    pub total: u64,
    /// In production.
    pub promoted: u64,
}

/// A reason that has a code.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// Which of several things it concerns, as a JSON pointer.
    pub pointer: Option<String>,
    /// Stable, UPPER_SNAKE.
    pub code: String,
    /// For people.
    pub detail: Option<String>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.code)?;
        for (before, text) in [(" at ", &self.pointer), (": ", &self.detail)] {
            if let Some(text) = text {
                write!(f, "{before}{text}")?;
            }
        }
        Ok(())
    }
}

impl Status {
    /// Whether nothing will change any more.
    pub fn terminal(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "completed_with_errors" | "failed" | "expired" | "cancelled")
    }

    /// Whether what was sent has been done, be it with rejects.
    pub fn succeeded(&self) -> bool {
        matches!(self.state.as_str(), "completed" | "completed_with_errors")
    }
}

/// An answer that is not a success (RFC 9457, or anything else that a server on the way may say).
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    problem: Problem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    request_id: Option<String>,
    errors: Vec<Cause>,
}

impl Refusal {
    /// Reads the answer's body, whatever it holds.
    pub async fn read(response: Response) -> Self {
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        let problem = serde_json::from_str(&text).unwrap_or_else(|_| Problem {
            detail: Some(text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(200).collect()),
            ..Problem::default()
        });
        Self { status, problem }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, detail, code, request_id, errors } = &self.problem;
        write!(f, "the server answered {}", self.status.as_u16())?;
        let texts = [code.as_ref(), detail.as_ref().or(title.as_ref())];
        for text in texts.into_iter().flatten().filter(|text| !text.is_empty()) {
            write!(f, ", {text}")?;
        }
        for error in errors {
            write!(f, "; {error}")?;
        }
        request_id.iter().try_for_each(|id| write!(f, " (request {id})"))
    }
}

impl Error for Refusal {}
