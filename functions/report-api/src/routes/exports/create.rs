//! `POST /api/v1/tenants/{tenant_id}/reports/export`: an export is ordered.

use super::{CompressionWord, DatasetWord, FormatWord, StateWord, TENANT, column_names};
use crate::app::App;
use axum::extract::State as AppState;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_aws::messages::RunExport;
use intake_domain::export::{Column, Format, SOURCES, Source, State};
use intake_domain::format::Compression;
use intake_domain::order_filter::{Conditions, OrderFilter};
use intake_lambda::edge::idempotency::replay;
use intake_lambda::edge::{Claimed, Json, Object, Tenant};
use intake_lambda::problem::{FieldCode, FieldError};
use intake_lambda::{Problem, fail_point};
use intake_postgres::exports::{self, Order};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// What to write into a file.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewExport, example = json!({
    "format": "csv",
    "compression": "gzip",
    "dataset": "orders",
    "columns": ["order_id", "order_date", "total_amount"],
    "filters": {"order_status": ["shipped", "delivered"], "start_date": "2026-01-01", "min_price": "10.00"},
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    #[schema(value_type = FormatWord)]
    format: String,
    #[schema(value_type = Option<CompressionWord>)]
    compression: Option<String>,
    /// `orders` unless told.
    #[schema(value_type = Option<DatasetWord>)]
    dataset: Option<String>,
    /// Names of columns, in the order of the file; all unless told.
    #[schema(min_items = 1)]
    columns: Option<Vec<String>>,
    /// Which rows; all unless told.
    #[schema(value_type = Option<Filters>)]
    filters: Option<Object<Filters>>,
    /// Of CSV: whether an apostrophe is put before texts that a spreadsheet would run as a formula; `true` unless told.
    spreadsheet_safe: Option<bool>,
}

/// Which rows. Of order items all but `product_ids` is asked of their orders. A row is as old as its `order_date`,
/// `created_at`, `updated_at` (stock) or `received_at` (price events), and its price is the `total_amount`, the `price` or the
/// `new_price`.
#[derive(Default, Deserialize, ToSchema)]
#[schema(as = ExportFilters)]
#[serde(deny_unknown_fields)]
struct Filters {
    /// A part of the customer's name or e-mail address, in whatever case.
    #[schema(min_length = 1, max_length = 255)]
    q: Option<String>,
    /// Statuses of orders: a list, or a text with commas.
    order_status: Option<List>,
    /// Orders with an item of one of these products, or rows of these products: a list, or a text with commas.
    product_ids: Option<List>,
    /// A number, or a text of one.
    #[schema(value_type = Option<NumberOrText>)]
    min_price: Option<Box<RawValue>>,
    /// A number, or a text of one.
    #[schema(value_type = Option<NumberOrText>)]
    max_price: Option<Box<RawValue>>,
    /// A day, `YYYY-MM-DD` or `DD-MM-YYYY`, or an instant of ISO 8601.
    start_date: Option<String>,
    /// A day or an instant; it is meant, too.
    end_date: Option<String>,
    /// An object that the order's `raw_payload` contains.
    #[schema(value_type = Option<Object>)]
    payload: Option<Box<RawValue>>,
}

/// A list, or a text with commas.
#[derive(Deserialize, ToSchema)]
#[schema(as = ListOrText)]
#[serde(untagged)]
enum List {
    List(Vec<String>),
    Text(String),
}

/// A decimal number, or a text of one.
#[derive(ToSchema)]
#[schema(as = NumberOrText)]
#[serde(untagged)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
enum NumberOrText {
    Number(f64),
    Text(String),
}

/// An export that is ordered.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderedExport, example = json!({
    "export_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
    "status": "pending",
    "format": "csv",
    "compression": "gzip",
    "dataset": "orders",
    "chunks": [],
}))]
pub(crate) struct Ordered {
    export_id: Uuid,
    #[schema(value_type = StateWord)]
    status: &'static str,
    #[schema(value_type = FormatWord)]
    format: &'static str,
    #[schema(value_type = CompressionWord)]
    compression: &'static str,
    #[schema(value_type = DatasetWord)]
    dataset: &'static str,
    /// None yet.
    #[schema(value_type = Vec<super::Chunk>)]
    chunks: [(); 0],
}

/// Order an export
///
/// The file has all rows as they are at one moment. It is written after the answer: its status says how far that is, and
/// where the file is to be had for seven days.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant_id}/reports/export",
    operation_id = "create_export",
    tag = "Exports",
    params(("tenant_id" = Uuid, Path, description = TENANT)),
    request_body = Request,
    responses((
        status = 202,
        description = "The export is ordered.",
        body = Ordered,
        headers(("Location" = String, description = "The path of its status.")),
    ))
)]
pub(crate) async fn handle(
    AppState(app): AppState<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Json(request): Json<Request>,
) -> Result<Response, Problem> {
    let order = read(&request).map_err(Problem::invalid)?;
    let scope = app.database.begin(tenant).await?;
    if let Some(answer) = claimed.take(&scope).await? {
        scope.commit().await?;
        // whoever ordered it may have died before the message was sent
        let ordered: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if let Some(export_id) = ordered["export_id"].as_str().and_then(|id| Uuid::try_parse(id).ok()) {
            app.exports.send_all(&[RunExport { tenant_id: tenant, export_id }]).await?;
        }
        return Ok(replay(answer));
    }
    exports::order(&scope, &order).await?;
    let ordered = Ordered {
        export_id: order.export_id,
        status: State::Pending.as_str(),
        format: order.format.as_str(),
        compression: order.compression.as_str(),
        dataset: order.source.name,
        chunks: [],
    };
    let mut response = (StatusCode::ACCEPTED, axum::Json(ordered)).into_response();
    let path = format!("/api/v1/tenants/{tenant}/reports/export/{}", order.export_id);
    if let Ok(path) = HeaderValue::try_from(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    let response = claimed.keep(&scope, response).await?;
    scope.commit().await?;
    fail_point!("report-api.export-ordered", tenant);
    app.exports.send_all(&[RunExport { tenant_id: tenant, export_id: order.export_id }]).await?;
    Ok(response)
}

/// Reads a request, or says all that is wrong with it.
fn read(request: &Request) -> Result<Order, Vec<FieldError>> {
    let mut wrong = Vec::new();
    let mut keep = |pointer: &str, code: FieldCode, detail: String| wrong.push(FieldError::new(pointer, code, detail));
    let format = Format::parse(&request.format);
    if format.is_none() {
        keep("/format", FieldCode::InvalidValue, "must be one of csv, json, parquet".to_owned());
    }
    let compression = Compression::parse(request.compression.as_deref().unwrap_or("none"));
    match compression {
        None => keep("/compression", FieldCode::InvalidValue, "must be one of none, gzip, zstd".to_owned()),
        Some(Compression::None) => {}
        Some(_) if format == Some(Format::Parquet) => {
            let detail = "Parquet is compressed inside; leave it out".to_owned();
            keep("/compression", FieldCode::NotApplicable, detail);
        }
        Some(_) => {}
    }
    if request.spreadsheet_safe == Some(true) && format.is_some_and(|format| format != Format::Csv) {
        keep("/spreadsheet_safe", FieldCode::NotApplicable, "is for CSV alone".to_owned());
    }
    let source = Source::by_name(request.dataset.as_deref().unwrap_or("orders"));
    if source.is_none() {
        let names: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
        keep("/dataset", FieldCode::UnknownDataset, format!("must be one of {}", names.join(", ")));
    }
    let mut columns = Vec::new();
    let mut filter = OrderFilter::default();
    if let Some(source) = source {
        match chosen(source, request.columns.as_deref()) {
            Ok(chosen) => columns = chosen,
            Err(error) => wrong.push(error),
        }
        match request.filters.as_ref().map(|Object(filters)| filters.read(source)).transpose() {
            Ok(read) => filter = read.unwrap_or_default(),
            Err(errors) => wrong.extend(errors),
        }
    }
    match (format, compression, source) {
        (Some(format), Some(compression), Some(source)) if wrong.is_empty() => Ok(Order {
            export_id: Uuid::now_v7(),
            source,
            format,
            compression,
            columns,
            filter,
            spreadsheet_safe: request.spreadsheet_safe.unwrap_or(true),
            trace: intake_aws::trace::current(),
        }),
        _ => Err(wrong),
    }
}

/// The columns of a source that are asked for.
fn chosen(source: &Source, names: Option<&[String]>) -> Result<Vec<Column>, FieldError> {
    let Some(names) = names else { return Ok(source.columns.to_vec()) };
    let refuse = |pointer: String, detail: String| Err(FieldError::new(pointer, FieldCode::InvalidValue, detail));
    if names.is_empty() {
        return refuse("/columns".to_owned(), "must name a column".to_owned());
    }
    let mut columns: Vec<Column> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        match source.column(name) {
            None => return refuse(format!("/columns/{at}"), format!("must be one of {}", column_names(source))),
            Some(column) if columns.contains(&column) => {
                return refuse(format!("/columns/{at}"), "is there twice".to_owned());
            }
            Some(column) => columns.push(column),
        }
    }
    Ok(columns)
}

impl Filters {
    /// As the rules have them, where each applies to the source.
    fn read(&self, source: &Source) -> Result<OrderFilter, Vec<FieldError>> {
        let given = [
            ("q", self.q.is_some()),
            ("order_status", self.order_status.is_some()),
            ("product_ids", self.product_ids.is_some()),
            ("min_price", self.min_price.is_some()),
            ("max_price", self.max_price.is_some()),
            ("start_date", self.start_date.is_some()),
            ("end_date", self.end_date.is_some()),
            ("payload", self.payload.is_some()),
        ];
        let strangers = given.iter().filter(|(name, is_given)| *is_given && !source.filters.contains(name));
        let mut wrong: Vec<_> = strangers
            .map(|(name, _)| {
                let detail = format!("does not apply to {}; what does: {}", source.name, source.filters.join(", "));
                FieldError::new(format!("/filters/{name}"), FieldCode::NotApplicable, detail)
            })
            .collect();
        let (statuses, products) = (self.order_status.as_ref(), self.product_ids.as_ref());
        let (statuses, products) = (statuses.map(List::entries), products.map(List::entries));
        let (min_price, max_price) = (self.min_price.as_deref().map(text), self.max_price.as_deref().map(text));
        let payload = self.payload.as_deref().map(text);
        let conditions = Conditions {
            q: self.q.as_deref(),
            order_status: statuses.as_deref(),
            product_ids: products.as_deref(),
            min_price: min_price.as_deref(),
            max_price: max_price.as_deref(),
            start_date: self.start_date.as_deref(),
            end_date: self.end_date.as_deref(),
            payload: payload.as_deref(),
        };
        match OrderFilter::read(&conditions) {
            Ok(filter) if wrong.is_empty() => Ok(filter),
            Ok(_) => Err(wrong),
            Err(errors) => {
                wrong.extend(errors.into_iter().map(|mut error| {
                    error.pointer.insert_str(0, "/filters");
                    FieldError::from(error)
                }));
                Err(wrong)
            }
        }
    }
}

impl List {
    fn entries(&self) -> Vec<&str> {
        match self {
            Self::List(entries) => entries.iter().map(String::as_str).collect(),
            Self::Text(text) => text.split(',').map(str::trim).collect(),
        }
    }
}

/// A token of JSON as the text that is meant: what a string says, or the token.
fn text(token: &RawValue) -> String {
    serde_json::from_str(token.get()).unwrap_or_else(|_| token.get().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: Value) -> Vec<(String, FieldCode)> {
        let request: Request = serde_json::from_value(body).expect("a request");
        let errors = read(&request).err().unwrap_or_default();
        errors.into_iter().map(|error| (error.pointer, error.code)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_pointed_at() {
        let body = json!({
            "format": "xls", "compression": "rar", "dataset": "bananas", "filters": {"q": "x"},
        });
        let pointers: Vec<_> = refused(body).into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, ["/format", "/compression", "/dataset"]);
        for (body, pointer, code) in [
            (json!({"format": "parquet", "compression": "gzip"}), "/compression", FieldCode::NotApplicable),
            (json!({"format": "json", "spreadsheet_safe": true}), "/spreadsheet_safe", FieldCode::NotApplicable),
            (json!({"format": "csv", "columns": []}), "/columns", FieldCode::InvalidValue),
            (json!({"format": "csv", "columns": ["order_id", "x"]}), "/columns/1", FieldCode::InvalidValue),
            (json!({"format": "csv", "columns": ["order_id", "order_id"]}), "/columns/1", FieldCode::InvalidValue),
            (
                json!({"format": "csv", "dataset": "stock", "filters": {"q": "x"}}),
                "/filters/q",
                FieldCode::NotApplicable,
            ),
        ] {
            assert_eq!(refused(body.clone()), [(pointer.to_owned(), code)], "{body}");
        }
        for (name, value) in [
            ("order_status", json!("lost")),
            ("product_ids", json!(["x"])),
            ("min_price", json!("cheap")),
            ("start_date", json!("yesterday")),
            ("payload", json!([1])),
        ] {
            let wrong = refused(json!({"format": "csv", "filters": {name: value}}));
            assert_eq!(wrong.len(), 1, "{name}: {wrong:?}");
            assert!(wrong[0].0.starts_with(&format!("/filters/{name}")), "{wrong:?}");
        }
    }

    #[test]
    fn filters_are_taken_in_both_spellings() {
        let product = Uuid::from_u128(7);
        let read_filter = |filters: Value| {
            let request: Request = serde_json::from_value(json!({"format": "csv", "filters": filters})).expect("one");
            read(&request).map(|order| order.filter).map_err(|errors| format!("{errors:?}"))
        };
        let lists = read_filter(json!({
            "order_status": ["shipped", "pending"], "product_ids": [product], "min_price": 1.5, "payload": {"a": 1},
        }));
        let texts = read_filter(json!({
            "order_status": "shipped,pending", "product_ids": product.to_string(), "min_price": "1.50",
            "payload": "{\"a\":1}",
        }));
        assert_eq!(lists, texts);
        assert_eq!(lists.map(|filter| filter.min_total), Ok(Some(150)));
    }
}
