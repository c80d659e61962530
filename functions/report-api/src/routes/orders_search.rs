//! `GET /api/v1/tenants/{tenant_id}/orders/search`: orders, newest first, as NDJSON in constant memory.

use crate::app::App;
use crate::order_line::{Fields, OrderLine, Shown};
use crate::{cursor, words};
use axum::extract::State;
use axum::response::Response;
use intake_domain::order_filter::{Conditions, OrderFilter};
use intake_lambda::edge::{Query, Tenant};
use intake_lambda::http::Deadline;
use intake_lambda::ndjson_answer::{Lines, Pages, Room};
use intake_lambda::problem::{Code, FieldCode};
use intake_lambda::{Problem, ndjson_answer};
use intake_postgres::orders::{Place, Position, Search};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use utoipa::ToSchema;
use uuid::Uuid;

/// How many orders an answer has at most, and how many unless told.
const MAX_LIMIT: i64 = 100_000;
const DEFAULT_LIMIT: i64 = 10_000;

/// How many orders are read at a time: one at first, so that it is there soon however few are found, and then more and more.
const PAGE_ROWS: [usize; 4] = [1, 100, 1_000, 5_000];

/// How long before its deadline the function ends an answer: a step more is read in less.
const MARGIN: Duration = Duration::from_secs(8);

/// The instants that orders have and PostgreSQL knows, in microseconds since 1970: from the year 1 to 9999.
const INSTANTS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_001;

/// What the names of an order's fields take in a line at most, in bytes.
const NAMES_BYTES: usize = 300;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// The `next_cursor` of the answer before, with the parameters that it came from.
    #[param(pattern = "^[0-9a-f]{64}$", nullable = false)]
    cursor: Option<String>,
    /// How many orders the answer has at most.
    #[param(minimum = 1, maximum = 100_000, default = 10_000, nullable = false)]
    limit: Option<i64>,
    /// The fields that a line has, separated by commas; all unless told.
    #[param(nullable = false, example = "order_id,total_amount")]
    fields: Option<String>,
    /// A part of the customer's name or e-mail address, as the order has it, in whatever case.
    #[param(min_length = 1, max_length = 255, nullable = false, example = "ada@")]
    q: Option<String>,
    /// Statuses, separated by commas: orders that have one of them.
    #[param(nullable = false, example = "shipped,delivered")]
    order_status: Option<String>,
    /// Ids of products, separated by commas: orders with an item of one of them.
    #[param(nullable = false, example = "9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11")]
    product_ids: Option<String>,
    /// The least total, a decimal number.
    #[param(pattern = r"^[0-9]{1,10}(\.[0-9]{1,2})?$", nullable = false)]
    min_price: Option<String>,
    /// The highest total.
    #[param(pattern = r"^[0-9]{1,10}(\.[0-9]{1,2})?$", nullable = false)]
    max_price: Option<String>,
    /// The first day, `YYYY-MM-DD` or `DD-MM-YYYY`, or the first instant, in ISO 8601; of UTC where it names no zone.
    #[param(nullable = false, example = "2026-01-01")]
    start_date: Option<String>,
    /// The last day or instant; orders of it are found, too.
    #[param(nullable = false, example = "2026-01-31")]
    end_date: Option<String>,
    /// An object of JSON that `raw_payload` contains.
    #[param(nullable = false, example = json!(r#"{"source": "web"}"#))]
    payload: Option<String>,
}

impl Parameters {
    fn filter(&self) -> Result<OrderFilter, Problem> {
        let [statuses, products] = [&self.order_status, &self.product_ids]
            .map(|list| list.as_deref().map(|list| list.split(',').collect::<Vec<_>>()));
        let conditions = Conditions {
            q: self.q.as_deref(),
            order_status: statuses.as_deref(),
            product_ids: products.as_deref(),
            min_price: self.min_price.as_deref(),
            max_price: self.max_price.as_deref(),
            start_date: self.start_date.as_deref(),
            end_date: self.end_date.as_deref(),
            payload: self.payload.as_deref(),
        };
        OrderFilter::read(&conditions).map_err(words::wrong_query)
    }
}

/// A line of the answer: an order, or the end.
#[derive(ToSchema)]
#[schema(as = OrdersSearchLine)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum Line {
    Order(OrderLine),
    End(End),
}

/// The last line of an answer.
#[derive(Serialize, ToSchema)]
#[schema(as = OrdersSearchEnd)]
enum End {
    /// Of one that is whole.
    #[serde(rename = "_meta")]
    Meta {
        /// How many orders the answer has.
        #[schema(minimum = 0)]
        count: u64,
        /// Where the next answer begins; null when that was all.
        #[schema(required)]
        next_cursor: Option<String>,
    },
    /// Of one that breaks off.
    #[serde(rename = "error")]
    Error {
        #[schema(example = "UNAVAILABLE")]
        code: &'static str,
        detail: &'static str,
        /// Where to go on; null where the request said none and no order was told.
        #[schema(required)]
        cursor: Option<String>,
    },
}

/// Find orders
///
/// As NDJSON, newest first, sent while it is read. All conditions hold of an order that is found. The last line is `_meta`, or
/// `error` when it breaks off; an answer with neither was cut off on the way.
///
/// An answer that has as many orders as it may, or whose time is over, names a `next_cursor`; where few orders are among many it may
/// have none before that. Reading on with it is stable while orders arrive: none is
/// told twice, and none is left out that was there before and stays as it is. A cursor goes with the parameters that it came from,
/// except for `limit`.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant_id}/orders/search",
    operation_id = "search_orders",
    tag = "Orders",
    params(("tenant_id" = Uuid, Path, description = words::TENANT), Parameters),
    responses((
        status = 200,
        description = "Lines of JSON, each of this schema.",
        content_type = "application/x-ndjson",
        body = Line,
        example = json!({
            "order_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "external_order_id": "A-1",
            "customer_id": "0b0e7f8e-3f0e-4a39-9d51-0d4b2c1f7a01",
            "customer_name_snapshot": "Ada",
            "customer_email_snapshot": "ada@example.org",
            "total_amount": 59.97,
            "currency": "USD",
            "order_status": "shipped",
            "order_date": "2026-01-31T03:04:05.678Z",
            "raw_payload": {"source": "web"},
            "created_at": "2026-01-31T03:05:00Z",
        }),
    ))
)]
pub(super) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    Query(parameters): Query<Parameters>,
    Deadline(deadline): Deadline,
) -> Result<Response, Problem> {
    let limit = words::limit(parameters.limit, DEFAULT_LIMIT, MAX_LIMIT);
    let fields = Fields::read(parameters.fields.as_deref());
    let (limit, fields, filter) = match (limit, fields, parameters.filter()) {
        (Ok(limit), Ok(fields), Ok(filter)) => (limit, fields, filter),
        (limit, fields, filter) => {
            let problems = [limit.err(), fields.err(), filter.err()];
            return Err(Problem::together(problems.into_iter().flatten()));
        }
    };
    let digest = Sha256::new_with_prefix(filter.digest(tenant)).chain_update(fields.digest()).finalize().into();
    let after = parameters.cursor.as_deref().map(|cursor| cursor::read(cursor, &digest)).transpose()?;
    let after = after.map(position);
    if after.is_some_and(|after| !INSTANTS.contains(&after.date)) {
        return Err(Problem::query("cursor", FieldCode::InvalidCursor, "is none of ours"));
    }
    let search = Search::new(filter, fields.has_payload());
    let reading = Reading {
        app,
        tenant,
        search,
        fields,
        digest,
        place: Place::Start(after),
        left: limit as usize,
        told: 0,
        last: after,
        has_more: false,
        until: deadline.map(|deadline| deadline.checked_sub(MARGIN).unwrap_or(SystemTime::UNIX_EPOCH)),
        pages: 0,
        failed: Code::Unavailable,
    };
    ndjson_answer::answer(reading).await
}

/// A cursor names the last order of its answer, or the place up to which none was found: its date, so that bytes are in the order
/// of dates, and its id.
fn place(position: Position) -> [u8; 24] {
    let mut place = [0; 24];
    place[..8].copy_from_slice(&position.date.to_be_bytes());
    place[8..].copy_from_slice(position.order.as_bytes());
    place
}

fn position(place: [u8; 24]) -> Position {
    let (mut date, mut order) = ([0; 8], [0; 16]);
    date.copy_from_slice(&place[..8]);
    order.copy_from_slice(&place[8..]);
    Position { date: i64::from_be_bytes(date), order: Uuid::from_bytes(order) }
}

/// An answer on its way.
struct Reading {
    app: Arc<App>,
    tenant: Uuid,
    search: Search,
    fields: Fields,
    digest: [u8; 32],
    /// Where the search goes on.
    place: Place,
    /// How many orders it may still have.
    left: usize,
    told: u64,
    /// The order after which the next one comes.
    last: Option<Position>,
    /// Whether there are more orders than it may have, or than it has time for.
    has_more: bool,
    /// When it ends, however far it is.
    until: Option<SystemTime>,
    /// How many times orders were read.
    pages: usize,
    /// Why it broke off.
    failed: Code,
}

impl Reading {
    async fn read(&mut self, room: Room) -> Result<Option<Lines>, Problem> {
        while !self.has_more && !matches!(self.place, Place::End) {
            if self.is_over()
                && let Some(after) = self.place.after()
            {
                (self.last, self.has_more) = (Some(after), true);
                break;
            }
            let most = PAGE_ROWS[self.pages.min(PAGE_ROWS.len() - 1)];
            self.pages += 1;
            // one more tells whether there are more
            let most = most.min(self.left + 1);
            let step =
                retry("search_orders", || self.search.step(&self.app.database, self.tenant, &self.place, most)).await?;
            self.place = step.place;
            let (mut lines, mut bytes) = (Lines::default(), 0);
            let told = self.told;
            for order in &step.orders {
                bytes += order.size_bytes() + NAMES_BYTES;
                let is_first = self.told == 0;
                if self.left == 0 || !(is_first || room.fits(bytes)) {
                    self.has_more = true;
                    break;
                }
                lines.push(&Shown { order, fields: self.fields })?;
                self.left -= 1;
                self.told += 1;
                self.last = Some(order.position());
            }
            if self.told > told {
                return Ok(Some(lines));
            }
        }
        Ok(None)
    }

    /// Whether its time is over. What is asked for again gets on by a step at least.
    fn is_over(&self) -> bool {
        self.pages > 0 && self.until.is_some_and(|until| SystemTime::now() > until)
    }

    fn cursor(&self) -> Option<String> {
        self.last.map(|last| cursor::write(&place(last), &self.digest))
    }
}

impl Pages for Reading {
    type End = End;

    async fn page(&mut self, room: Room) -> Result<Option<Lines>, Problem> {
        let read = self.read(room).await;
        if let Err(problem) = &read {
            self.failed = problem.code();
        }
        read
    }

    fn end(&self) -> End {
        End::Meta { count: self.told, next_cursor: self.cursor().filter(|_| self.has_more) }
    }

    fn broken(&self) -> End {
        let detail = "the answer could not be read to its end; ask again with cursor";
        End::Error { code: self.failed.as_str(), detail, cursor: self.cursor() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_position() {
        for date in [i64::MIN, -1, 0, 1_769_828_645_678_901] {
            let there = Position { date, order: Uuid::from_u128(7) };
            assert_eq!(position(place(there)), there);
        }
    }
}
