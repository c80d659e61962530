//! `GET /api/v1/ingest/sessions/{upload_token}/rejects`: every refused row with its line and its errors, as NDJSON.
//!
//! The answer is sent while it is read, in constant memory, and ends with a `_meta` line, or with an `error` line when
//! the ledger fails on the way; the absence of both means that it was cut off.

use crate::app::App;
use crate::words;
use axum::extract::State;
use axum::response::Response;
use intake_domain::reject::{Code, RowError};
use intake_domain::state::session_state;
use intake_lambda::edge::{Path, Query, Tenant};
use intake_lambda::line_error::RowErrorCode;
use intake_lambda::ndjson_answer::{Lines, Pages, Room};
use intake_lambda::problem::FieldCode;
use intake_lambda::{Problem, ndjson_answer};
use intake_postgres::ledger::{self, RejectRow, RejectingFile};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// A record that is nested deeper stands as a string, since common parsers would refuse the whole line.
const MAX_DEPTH: usize = 100;

/// Errors of rows that stand as they came, and not as the object that they would be.
const UNREADABLE: [Code; 4] = [Code::InvalidUtf8, Code::InvalidJson, Code::ColumnCount, Code::UnbalancedQuote];

/// Before the first reject of a file.
const START: (i32, i32) = (-1, -1);

/// How many rejects are read from the ledger at a time, and about how many bytes of them.
const PAGE_ROWS: i64 = 1_000;
const PAGE_BYTES: i64 = 512 << 10;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// Where an earlier answer ended: the `next_cursor` of its last line.
    #[param(pattern = r"^[0-9a-f]{32}\.[0-9]{1,9}\.[0-9]{1,9}$", nullable = false)]
    cursor: Option<String>,
    /// How many rejects the answer has at most; all of them unless told.
    #[param(minimum = 1, nullable = false)]
    limit: Option<i64>,
}

/// A line of the answer: a refused row, or the end.
#[derive(ToSchema)]
#[schema(as = RejectsLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum Line<'a> {
    Reject(Reject<'a>),
    End(End),
}

/// A row that was refused.
#[derive(Serialize, ToSchema)]
struct Reject<'a> {
    /// The name of the file.
    file: &'a str,
    /// From 1; null where lines before it are not counted yet.
    #[schema(required, minimum = 1)]
    line: Option<i64>,
    /// Where the row begins in the file as it is unpacked.
    #[schema(minimum = 0)]
    byte_offset: i64,
    /// Its natural key, where it could be read: an e-mail address, a sku, an external order id.
    #[schema(required)]
    key: Option<&'a str>,
    #[schema(value_type = Vec<Error>, min_items = 1)]
    errors: &'a [RowError],
    record: Record<'a>,
}

/// Something that is wrong with a row.
#[derive(ToSchema)]
#[schema(as = RowError)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct Error {
    #[schema(value_type = RowErrorCode)]
    code: Code,
    /// The field, as a JSON pointer; empty for the row as a whole.
    pointer: String,
    /// One sentence for people.
    detail: String,
}

/// The last line of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = RejectsEnd)]
enum End {
    /// Of one that is whole.
    #[serde(rename = "_meta")]
    Meta {
        /// Where the rest begins; null when that was all.
        #[schema(required)]
        next_cursor: Option<String>,
        /// How many rejects the answer has.
        #[schema(minimum = 0)]
        rejects: i64,
        /// Whether there will be no more of them, because the session has ended.
        complete: bool,
    },
    /// Of one that breaks off.
    #[serde(rename = "error")]
    Error {
        #[schema(example = "UNAVAILABLE")]
        code: &'static str,
        detail: &'static str,
        /// Where to go on.
        #[schema(required)]
        next_cursor: Option<String>,
    },
}

/// A row that is an object stands as it was sent; anything else as a string, so that sent again unmended it is refused
/// again.
#[derive(Serialize, ToSchema)]
#[schema(as = RejectedRecord)]
#[serde(untagged)]
enum Record<'a> {
    #[schema(value_type = HashMap<String, Value>)]
    Object(&'a RawValue),
    Text(&'a str),
}

/// Every row that was refused
///
/// As NDJSON, sent while it is read. The last line is `_meta`, or `error` when it breaks off; an answer with neither
/// was cut off on the way. A `record` that is mended can be sent again, and so can the whole line.
#[utoipa::path(
    get,
    path = "/api/v1/ingest/sessions/{upload_token}/rejects",
    operation_id = "list_rejects",
    tag = "Uploads",
    params(("upload_token" = Uuid, Path, description = words::UPLOAD_TOKEN), Parameters),
    responses((
        status = 200,
        description = "Lines of JSON, each of this schema.",
        content_type = "application/x-ndjson",
        body = Line,
        example = json!({
            "file": "customers.ndjson",
            "line": 2,
            "byte_offset": 99,
            "key": "bob@example.org",
            "errors": [{"code": "INVALID_UUID", "pointer": "/customer_id", "detail": "not a UUID"}],
            "record": {"customer_id": "42", "name": "Bob", "email": "bob@example.org"},
        }),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Path(token): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, Problem> {
    if parameters.limit.is_some_and(|limit| limit < 1) {
        return Err(Problem::query("limit", FieldCode::InvalidLimit, "must be at least 1"));
    }
    let after = match &parameters.cursor {
        None => None,
        Some(cursor) => {
            let none = || Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours");
            Some(read_cursor(cursor).ok_or_else(none)?)
        }
    };
    let session = app.session(tenant, &token).await?;
    let scope = app.database.begin(tenant).await?;
    let states = ledger::files_of_session(&scope, session.session_id).await?;
    let files = ledger::files_with_rejects(&scope, session.session_id).await?;
    scope.commit().await?;
    let states = states.iter().map(|file| file.state);
    let is_complete = session_state(states, session.has_expired, session.is_cancelled).is_terminal();
    let mut reading = Reading {
        app,
        tenant,
        files: files.into(),
        position: START,
        limit: parameters.limit.unwrap_or(i64::MAX),
        is_complete,
        written: 0,
    };
    if let Some((file, position)) = after {
        // everything up to the cursor's file was in earlier answers
        while reading.files.front().is_some_and(|known| known.file_id != file) {
            reading.files.pop_front();
        }
        reading.position = position;
    }
    ndjson_answer::answer(reading).await
}

/// An answer as it is made.
struct Reading {
    app: Arc<App>,
    tenant: Uuid,
    /// Those that are not read to their end.
    files: VecDeque<RejectingFile>,
    /// The last reject that was read of the first of them.
    position: (i32, i32),
    /// How many rejects the answer may have.
    limit: i64,
    is_complete: bool,
    written: i64,
}

impl Reading {
    /// Where another answer would go on.
    fn cursor(&self) -> Option<String> {
        self.files.front().map(|file| cursor(file.file_id, self.position))
    }
}

impl Pages for Reading {
    type End = End;

    /// The next rejects, of one file.
    async fn page(&mut self, room: Room) -> Result<Option<Lines>, Problem> {
        while let Some(file) = self.files.front() {
            let most = PAGE_ROWS.min(self.limit - self.written);
            if most == 0 || !room.fits(PAGE_BYTES as usize) {
                return Ok(None);
            }
            let (file_id, position) = (file.file_id, self.position);
            let scope = self.app.database.begin(self.tenant).await?;
            let rejects = ledger::rejects_page(&scope, file_id, position, most, PAGE_BYTES).await?;
            scope.commit().await?;
            let Some(last) = rejects.last() else {
                self.files.pop_front();
                self.position = START;
                continue;
            };
            let mut lines = Lines::default();
            for reject in &rejects {
                write(&mut lines, &file.name, reject)?;
            }
            self.position = last.position;
            self.written += rejects.len() as i64;
            return Ok(Some(lines));
        }
        Ok(None)
    }

    fn end(&self) -> End {
        End::Meta { next_cursor: self.cursor(), rejects: self.written, complete: self.is_complete }
    }

    fn broken(&self) -> End {
        let detail = "the ledger failed on the way; ask again from next_cursor";
        End::Error { code: "UNAVAILABLE", detail, next_cursor: self.cursor() }
    }
}

/// How deep the values of a well-formed JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn write(lines: &mut Lines, file: &str, reject: &RejectRow) -> Result<(), Problem> {
    let errors: Vec<RowError> = serde_json::from_str(&reject.errors).map_err(|error| Problem::internal(&error))?;
    // what could not be read as it was sent may read as something else by now: bytes that no text takes were replaced
    let is_as_sent = !errors.iter().any(|error| UNREADABLE.contains(&error.code));
    let object = serde_json::from_str::<&RawValue>(&reject.record).ok();
    let object = object.filter(|raw| is_as_sent && raw.get().starts_with('{') && depth(raw.get()) <= MAX_DEPTH);
    lines.push(&Reject {
        file,
        line: reject.line,
        byte_offset: reject.byte_offset,
        key: reject.key.as_deref(),
        errors: &errors,
        record: object.map_or(Record::Text(&reject.record), Record::Object),
    })
}

/// A cursor names the last reject of its page: file, chunk and line.
fn cursor(file: Uuid, (chunk, line): (i32, i32)) -> String {
    format!("{}.{chunk}.{line}", file.simple())
}

fn read_cursor(text: &str) -> Option<(Uuid, (i32, i32))> {
    let mut parts = text.split('.');
    let file = parts.next()?.parse().ok()?;
    let position = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((file, position))
}
