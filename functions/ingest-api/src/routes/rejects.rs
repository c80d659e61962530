//! `GET /api/v1/ingest/sessions/{upload_token}/rejects`: every refused row with its line and its errors, as NDJSON.
//!
//! A page ends with a `_meta` line; its absence means that the answer was cut off.

use crate::app::App;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_lambda::Problem;
use intake_postgres::ledger::{self, RejectPosition, RejectRow};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use std::sync::Arc;

/// How many rejects a page has at most, and how many unless told.
const MAX_LIMIT: i64 = 10_000;
const DEFAULT_LIMIT: i64 = 1_000;

/// A page ends early past so many bytes: API Gateway takes 6 MB from a function.
const PAGE_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    cursor: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
struct Reject<'a> {
    file: &'a str,
    line: i64,
    byte_offset: i64,
    key: Option<&'a str>,
    errors: &'a RawValue,
    record: Record<'a>,
}

/// A row that is an object stands as it was sent; anything else as a string.
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
        None => RejectPosition::START,
        Some(cursor) => {
            read_cursor(cursor).ok_or_else(|| bad("INVALID_CURSOR", "the cursor is none of ours".to_owned()))?
        }
    };
    let session = app.session(tenant, &token).await?;
    let scope = app.database.begin(tenant).await?;
    let page = ledger::rejects_page(&scope, session.session_id, after, limit).await?;
    scope.commit().await?;
    let mut body = Vec::new();
    let mut written = 0;
    for reject in &page {
        write(&mut body, reject).map_err(|error| Problem::internal(&error))?;
        written += 1;
        if body.len() > PAGE_BYTES {
            break;
        }
    }
    let is_last = written == page.len() && (page.len() as i64) < limit;
    let next_cursor = page.get(written.wrapping_sub(1)).filter(|_| !is_last).map(|last| cursor(last.position));
    let meta = json!({ "_meta": { "next_cursor": next_cursor, "rejects": written } });
    body.extend_from_slice(meta.to_string().as_bytes());
    body.push(b'\n');
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

fn write(body: &mut Vec<u8>, reject: &RejectRow) -> Result<(), serde_json::Error> {
    let object = serde_json::from_str::<&RawValue>(&reject.record).ok().filter(|raw| raw.get().starts_with('{'));
    let line = Reject {
        file: &reject.file,
        line: reject.line,
        byte_offset: reject.byte_offset,
        key: reject.key.as_deref(),
        errors: serde_json::from_str(&reject.errors)?,
        record: object.map_or(Record::Text(&reject.record), Record::Object),
    };
    serde_json::to_writer(&mut *body, &line)?;
    body.push(b'\n');
    Ok(())
}

fn cursor(RejectPosition(rank, ordinal, chunk, line): RejectPosition) -> String {
    format!("{rank}.{ordinal}.{chunk}.{line}")
}

fn read_cursor(text: &str) -> Option<RejectPosition> {
    let mut parts = text.split('.');
    let position = RejectPosition(
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(position)
}
