//! `GET /api/v1/ingest/sessions/{upload_token}/rejects`: every refused row with its line and its errors, as NDJSON.
//!
//! A page ends with a `_meta` line; its absence means that the answer was cut off.

use crate::app::App;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_domain::reject::{Code, RowError};
use intake_domain::state::session_state;
use intake_lambda::Problem;
use intake_postgres::ledger::{self, RejectRow};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::sync::Arc;
use uuid::Uuid;

/// A record that is nested deeper stands as a string, since common parsers would refuse the whole line.
const MAX_DEPTH: usize = 100;

/// Before the first reject of a file.
const START: (i32, i32) = (-1, -1);

/// How many rejects a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 10_000;
const DEFAULT_LIMIT: i64 = 1_000;

/// A page ends early past so many bytes: API Gateway takes 6 MB from a function, and text may grow in an answer.
const PAGE_BYTES: i64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    cursor: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
struct Reject<'a> {
    file: &'a str,
    line: Option<i64>,
    byte_offset: i64,
    key: Option<&'a str>,
    errors: &'a [RowError],
    record: Record<'a>,
}

/// The last line of a page.
#[derive(Serialize)]
struct Meta {
    /// Where the next page begins; null on the last.
    next_cursor: Option<String>,
    /// How many rejects the page has.
    rejects: i64,
    /// Whether there will be no more of them, because the session has ended.
    complete: bool,
}

/// A row that is an object stands as it was sent; anything else as a string, so that sent again unmended it is refused
/// again.
#[derive(Serialize)]
#[serde(untagged)]
enum Record<'a> {
    Object(&'a RawValue),
    Text(&'a str),
}

pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tenant = app.tenant(&headers).await?;
    let bad = |code, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let Query(parameters) = parameters.map_err(|error| bad("INVALID_QUERY", error.body_text()))?;
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(bad("INVALID_LIMIT", format!("limit must be from 1 to {MAX_LIMIT}")));
    }
    let after = match &parameters.cursor {
        None => None,
        Some(cursor) => {
            let position = read_cursor(cursor);
            Some(position.ok_or_else(|| bad("INVALID_CURSOR", "the cursor is none of ours".to_owned()))?)
        }
    };
    let session = app.session(tenant, &token).await?;
    let scope = app.database.begin(tenant).await?;
    let states = ledger::files_of_session(&scope, session.session_id).await?;
    let is_complete = session_state(states.iter().map(|file| file.state), session.has_expired).is_terminal();
    let mut files: VecDeque<_> = ledger::files_with_rejects(&scope, session.session_id).await?.into();
    let mut position = START;
    if let Some((file, from)) = after {
        // everything up to the cursor's file was on earlier pages
        while files.front().is_some_and(|known| known.file_id != file) {
            files.pop_front();
        }
        position = from;
    }
    let (mut body, mut written, mut next_cursor) = (Vec::new(), 0, None);
    while let Some(file) = files.front() {
        let page = ledger::rejects_page(&scope, file.file_id, position, limit - written, PAGE_BYTES).await?;
        for reject in &page {
            write(&mut body, &file.name, reject).map_err(|error| Problem::internal(&error))?;
            written += 1;
            position = reject.position;
        }
        if page.is_empty() {
            files.pop_front();
            position = START;
        } else if written == limit || body.len() as i64 >= PAGE_BYTES {
            next_cursor = Some(cursor(file.file_id, position));
            break;
        }
    }
    scope.commit().await?;
    let meta = Meta { next_cursor, rejects: written, complete: is_complete };
    let end = serde_json::json!({ "_meta": meta });
    body.extend_from_slice(end.to_string().as_bytes());
    body.push(b'\n');
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
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

fn write(body: &mut Vec<u8>, file: &str, reject: &RejectRow) -> Result<(), serde_json::Error> {
    let errors: Vec<RowError> = serde_json::from_str(&reject.errors)?;
    // what could not be read as it was sent may read as something else by now: bytes that no text takes were replaced
    let is_as_sent = !errors.iter().any(|error| matches!(error.code, Code::InvalidUtf8 | Code::InvalidJson));
    let object = serde_json::from_str::<&RawValue>(&reject.record).ok();
    let object = object.filter(|raw| is_as_sent && raw.get().starts_with('{') && depth(raw.get()) <= MAX_DEPTH);
    let line = Reject {
        file,
        line: reject.line,
        byte_offset: reject.byte_offset,
        key: reject.key.as_deref(),
        errors: &errors,
        record: object.map_or(Record::Text(&reject.record), Record::Object),
    };
    serde_json::to_writer(&mut *body, &line)?;
    body.push(b'\n');
    Ok(())
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
