//! What the API says.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Add;

use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::policy::MaxRejects;

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

/// A session that goes on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Resumed {
    /// What the session is known by.
    pub upload_token: String,
    /// Chunks that are tried again.
    pub chunks_queued: u64,
    /// All its files.
    pub files: Vec<ResumedFile>,
}

/// A file of a session that goes on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResumedFile {
    /// As it was given.
    pub name: String,
    /// Where it stands.
    pub state: String,
    /// Its size as it was declared.
    pub size_bytes: u64,
    /// How much of it the server has.
    pub arrived_bytes: u64,
    /// How the rest is sent; `None` when nothing is to be sent.
    pub upload: Option<Upload>,
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
        /// The parts that are to be sent.
        #[serde(default)]
        parts: Vec<Part>,
        /// Where to declare it, below the API's address.
        complete_path: String,
    },
}

impl Upload {
    /// Bytes that are to be sent of a file of `size_bytes`.
    pub fn bytes(&self, size_bytes: u64) -> u64 {
        match self {
            Self::Put { .. } => size_bytes,
            Self::Multipart { parts, .. } => parts.iter().map(|part| part.size_bytes).sum(),
        }
    }
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
    /// Found good, and waiting to be promoted.
    pub staged: u64,
    /// Found good, and never to be promoted: their file has ended.
    pub discarded: u64,
    /// Names, in promoted rows, of rows that are not there.
    pub dangling_references: u64,
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
            staged: self.staged + other.staged,
            discarded: self.discarded + other.discarded,
            dangling_references: self.dangling_references + other.dangling_references,
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
    /// How fast they were, or are, taken in.
    pub rows_per_second: Option<f64>,
    /// How much of the files is read.
    pub bytes: Bytes,
    /// When it got how far.
    pub times: Times,
    /// What holds for files that name nothing else.
    pub policy: Option<Limits>,
    /// Its files.
    pub files: Vec<FileStatus>,
    /// The call that tells of its end, if one was asked for.
    pub webhook: Option<Webhook>,
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
    /// What its name says of it.
    pub format: Format,
    /// Its chunks.
    pub chunks: Chunks,
    /// What became of its rows.
    pub rows: Rows,
    /// How fast they were, or are, taken in.
    pub rows_per_second: Option<f64>,
    /// What holds for it.
    pub policy: Option<Limits>,
    /// Chunks that were given up, or the first of them.
    pub failed_chunks: Vec<FailedChunk>,
    /// Why it failed.
    pub error: Option<Cause>,
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Bytes {
    /// Of so much.
    pub total: u64,
    /// So much is read.
    pub loaded: u64,
}

/// When a session, or a file, got how far.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Times {
    /// All of it was there.
    pub uploaded_at: Option<String>,
    /// It was cut into chunks.
    pub planned_at: Option<String>,
    /// All was read and checked.
    pub staged_at: Option<String>,
    /// It ended.
    pub finished_at: Option<String>,
}

/// How rows are dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// The most rejects with which a file is promoted; `None` for any number.
    pub max_rejects: Option<MaxRejects>,
    /// `accept` or `reject`.
    pub on_missing_reference: String,
}

/// What a file is made of.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Format {
    /// `ndjson` or `csv`.
    pub layout: String,
    /// `none`, `gzip` or `zstd`.
    pub compression: String,
}

/// A chunk that was given up.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct FailedChunk {
    /// Its number within the file.
    pub chunk_index: u64,
    /// Why.
    #[serde(flatten)]
    pub cause: Cause,
}

/// A call that tells of a session's end.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Webhook {
    /// Whom it goes to.
    pub url: String,
    /// Where it stands.
    pub state: String,
    /// Every time it was tried.
    pub attempts: Vec<WebhookAttempt>,
    /// When it is tried again.
    pub next_attempt_at: Option<String>,
}

/// One try of a call.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct WebhookAttempt {
    /// Counted from 1.
    pub attempt: u64,
    /// When.
    pub attempted_at: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// A session in a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ListedSession {
    /// What the session is known by.
    pub upload_token: String,
    /// Where it stands.
    pub state: String,
    /// Whether nothing is to be promoted.
    pub dry_run: bool,
    /// When it was made.
    pub created_at: String,
    /// How many files it has.
    pub files: u64,
    /// Their size together.
    pub size_bytes: u64,
    /// Chunks known so far.
    pub total_chunks: u64,
    /// Chunks done.
    pub completed_chunks: u64,
    /// What became of its rows.
    pub rows: Rows,
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
    /// Whether resuming the session may mend it.
    pub resumable: bool,
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

/// Whether a session or file in this state changes no more by itself.
fn is_terminal(state: &str) -> bool {
    matches!(state, "completed" | "completed_with_errors" | "failed" | "expired" | "cancelled")
}

impl Resumed {
    /// Whether the session had ended, and asking for it to go on has changed nothing.
    pub fn has_ended(&self) -> bool {
        self.chunks_queued == 0 && !self.files.is_empty() && self.files.iter().all(|file| is_terminal(&file.state))
    }
}

impl Status {
    /// Whether nothing will change any more.
    pub fn terminal(&self) -> bool {
        is_terminal(&self.state)
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

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether an upload was refused for its address, which may be too old, lead to nothing any more, or to where an
    /// object lies already, as it does when an answer was lost: whether there is anything left to send, and where to, is
    /// known to the server.
    pub fn is_of_the_address(&self) -> bool {
        // S3 words it so when what signed the address has ended before the address has.
        let has_ended = || self.problem.detail.as_deref().is_some_and(|detail| detail.contains("ExpiredToken"));
        match self.status {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => {
                true
            }
            StatusCode::BAD_REQUEST => has_ended(),
            _ => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { title, detail, code, request_id, errors } = &self.problem;
        write!(f, "the server answered {}", self.status.as_u16())?;
        // What is wrong with each field says more than a summary of it.
        let summary = detail.as_ref().or(title.as_ref()).filter(|_| errors.is_empty());
        let texts = [code.as_ref(), summary];
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
