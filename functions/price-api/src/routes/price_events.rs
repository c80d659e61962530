//! `POST /api/v1/tenants/{tenant_id}/price-events`: many prices change, each line for itself.

use super::price_event::price_events;
use crate::app::App;
use crate::settle::{Settled, settle};
use crate::words;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use intake_domain::lot::{self, lines};
use intake_domain::price::{Event, Outcome, details};
use intake_domain::reject::{Code as RowCode, RowError};
use intake_domain::row::Row;
use intake_lambda::Problem;
use intake_lambda::edge::file::FILE_REFUSALS;
use intake_lambda::edge::{Accepts, Claimed, File, Tenant};
use intake_lambda::line_error::RowErrorCode;
use intake_lambda::problem::Code;
use intake_lambda::time::{epoch_micros, rfc3339};
use intake_postgres::price::{Became, Change};
use serde::Serialize;
use std::sync::Arc;
use std::time::SystemTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many lines a request has at most, blank ones not counted.
const MAX_LINES: usize = 10_000;

/// So much of an answer tells of lines in full, in bytes. What the rest may be at most, a short line for each, fits
/// into the 4 MiB of an answer with it.
const FULL_BYTES: usize = 2 << 20;

/// What a request is refused with, besides what its form says.
pub(super) const REFUSALS: &[Code] = &[Code::EmptyBody, FILE_REFUSALS[0], FILE_REFUSALS[1]];

/// A form with a file.
#[derive(ToSchema)]
#[schema(as = PriceEventsForm)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct Form {
    /// NDJSON, of at most 4 MiB, and unpacked 16 MiB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// A line of the answer: what became of a line of the request, or the end.
#[derive(ToSchema)]
#[schema(as = PriceEventsLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum Line<'a> {
    Settled(Told<'a>),
    Bad(Bad<'a>),
    Short(Short),
    End(End),
}

/// A line whose event was settled.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceEventsSettled)]
struct Told<'a> {
    /// From 1; blank lines have numbers, too.
    #[schema(minimum = 1)]
    line: u32,
    #[serde(flatten)]
    settled: Settled<'a>,
}

/// A line that is refused.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceEventsRefused)]
struct Bad<'a> {
    /// From 1; blank lines have numbers, too.
    #[schema(minimum = 1)]
    line: u32,
    #[schema(pattern = "^error$")]
    status: &'static str,
    #[schema(value_type = Vec<Error>, min_items = 1)]
    errors: &'a [RowError],
}

/// Something that is wrong with a line.
#[derive(ToSchema)]
#[schema(as = PriceEventsError)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct Error {
    #[schema(value_type = RowErrorCode)]
    code: RowCode,
    /// The field, as a JSON pointer; empty for the line as a whole.
    pointer: String,
    /// One sentence for people.
    detail: String,
}

/// A line of which an answer that is long enough tells no more.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceEventsShort)]
#[serde(deny_unknown_fields)]
struct Short {
    /// From 1; blank lines have numbers, too.
    #[schema(minimum = 1)]
    line: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_id: Option<Uuid>,
    /// As of a line that is told in full.
    status: &'static str,
}

/// The last line of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = PriceEventsEnd)]
struct End {
    _meta: Counts,
}

/// How many lines there were, and what became of them. `lines` is the sum of the counts up to `errors`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PriceEventsCounts)]
struct Counts {
    lines: usize,
    processed: usize,
    held: usize,
    rejected: usize,
    stale_ignored: usize,
    duplicates: usize,
    errors: usize,
    /// How many events of this request look as if the policy applied to them.
    suspect: usize,
    /// How many lines are told in short, without what was measured or what is wrong with them.
    omitted: usize,
    #[schema(format = DateTime)]
    processed_at: String,
}

/// A line with an event.
struct Taken<'a> {
    event: Event,
    row: Row<'a>,
    /// Whether the id was made here.
    has_new_id: bool,
}

impl Taken<'_> {
    /// What it does. An id that was made here has not been seen, unless `may_be_known`.
    fn change(&self, may_be_known: bool) -> Change<'_> {
        let (source, metadata) = details(&self.row);
        Change { event: self.event, has_new_id: self.has_new_id && !may_be_known, source, metadata }
    }
}

/// A line as it came.
struct Given<'a> {
    number: u32,
    taken: Result<Taken<'a>, Vec<RowError>>,
}

/// Change many prices
///
/// One event a line, at most 10,000; a file of any size goes through an upload session. Lines are settled in their order and
/// independently: what is wrong with one is told in its place, and stops no other. An event whose `event_id` was seen before
/// does nothing.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/price-events",
    operation_id = "change_prices",
    tag = "Prices",
    params(
        ("tenant_id" = Uuid, Path, description = words::TENANT),
        (
            "Content-Encoding" = Option<String>,
            Header,
            nullable = false,
            pattern = "^(identity|gzip|zstd)?$",
            description = "How the body is compressed: `gzip` or `zstd`.",
        ),
    ),
    request_body(content(
        (String = "application/x-ndjson", example = "{\"product_id\": \"9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11\", \
            \"old_price\": 19.99, \"new_price\": 17.49, \"event_id\": \"01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01\"}\n\
            {\"product_id\": \"9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c12\", \"old_price\": \"5.00\", \"new_price\": \"5.50\", \
            \"event_time\": \"2026-01-31T03:04:05Z\"}\n"),
        (Form = "multipart/form-data"),
    )),
    responses((
        status = 200,
        description = "A line for each line of the request, in its order, and one with the counts.",
        content_type = "application/x-ndjson",
        body = Line,
        example = json!({"_meta": {
            "lines": 2, "processed": 1, "held": 0, "rejected": 0, "stale_ignored": 0, "duplicates": 0, "errors": 1,
            "suspect": 0, "omitted": 0, "processed_at": "2026-01-31T03:04:05.678Z",
        }}),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    request: Request,
) -> Result<Response, Problem> {
    let body = File::read(request, Accepts::Ndjson).await?.unpacked()?;
    let now = SystemTime::now();
    let given = read(tenant, &body, epoch_micros(now))?;
    if given.is_empty() {
        return Err(Problem::new(Code::EmptyBody, "the body has no line"));
    }
    let taken = || given.iter().filter_map(|given| given.taken.as_ref().ok());
    let changes = |may_be_known| taken().map(|taken| taken.change(may_be_known)).collect();
    settle(&app, tenant, &claimed, changes, |became| {
        let body = tell(&given, became, now).map_err(|error| Problem::internal(&error))?;
        Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
    })
    .await
}

fn too_many_lines() -> Problem {
    let detail = format!(
        "a request has at most {MAX_LINES} price events; declare a larger file of price_events with POST \
         /api/v1/ingest/sessions and upload it to the URLs in the answer"
    );
    Problem::new(Code::PayloadTooLarge, detail)
}

/// The lines of a body that `tenant` sent and that was received at `received_at`, in microseconds since 1970.
fn read(tenant: Uuid, body: &[u8], received_at: i64) -> Result<Vec<Given<'_>>, Problem> {
    let dataset = price_events();
    let mut given = Vec::new();
    for lot::Line { number, row } in lines(dataset, tenant, body, received_at) {
        if given.len() == MAX_LINES {
            return Err(too_many_lines());
        }
        let taken = row.and_then(|mut row| {
            let has_new_id = row.id(dataset).is_nil();
            row.identify(dataset, Uuid::now_v7);
            let event = Event::of_row(&row, received_at).map_err(|error| vec![error])?;
            Ok(Taken { event, row, has_new_id })
        });
        given.push(Given { number, taken });
    }
    Ok(given)
}

/// The answer: `became` is what became of the lines that have an event.
fn tell(given: &[Given<'_>], became: &[Became], now: SystemTime) -> Result<Vec<u8>, serde_json::Error> {
    let mut became = became.iter();
    let mut body = Vec::with_capacity(given.len() * 320);
    let mut counts = Counts { lines: given.len(), processed_at: rfc3339(now), ..Counts::default() };
    for Given { number: line, taken } in given {
        let line = *line;
        let unknown;
        let errors = match taken {
            Err(errors) => errors.as_slice(),
            Ok(taken) => {
                let told = became.next().filter(|became| {
                    counts.count(became);
                    !matches!(became, Became::UnknownProduct)
                });
                if let Some(settled) = told.and_then(|became| Settled::of(became, now)) {
                    let short = Short { line, event_id: Some(taken.event.id), status: settled.status() };
                    counts.omitted += push(&mut body, &Told { line, settled }, &short)?;
                    continue;
                }
                let detail = format!("there is no {} in products", taken.event.product);
                unknown = [RowError::of_field(RowCode::MissingReference, "product_id", detail)];
                &unknown
            }
        };
        counts.errors += 1;
        let short = Short { line, event_id: None, status: "error" };
        counts.omitted += push(&mut body, &Bad { line, status: "error", errors }, &short)?;
    }
    push(&mut body, &End { _meta: counts.clone() }, &End { _meta: counts })?;
    Ok(body)
}

/// Appends a line: in full, or in short where the answer is long enough. Returns how many were shortened.
fn push(body: &mut Vec<u8>, full: &impl Serialize, short: &impl Serialize) -> Result<usize, serde_json::Error> {
    let is_short = body.len() > FULL_BYTES;
    if is_short {
        serde_json::to_writer(&mut *body, short)?;
    } else {
        serde_json::to_writer(&mut *body, full)?;
    }
    body.push(b'\n');
    Ok(usize::from(is_short))
}

impl Counts {
    fn count(&mut self, became: &Became) {
        match became {
            Became::UnknownProduct => {}
            Became::Duplicate(_) => self.duplicates += 1,
            Became::Recorded(told) => {
                self.suspect += usize::from(told.suspect);
                match told.outcome {
                    Outcome::Applied => self.processed += 1,
                    Outcome::Held => self.held += 1,
                    Outcome::Rejected => self.rejected += 1,
                    Outcome::StaleIgnored => self.stale_ignored += 1,
                }
            }
        }
    }
}
