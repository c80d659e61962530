//! Rows are taken out as they are at one moment, in every format, whatever dies meanwhile.

use super::export_bench::{MAX_MIB, peak_mib};
use crate::support::{Answer, File, Ground, Shop, at, counts, customer, id, item, ndjson, order, product};
use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use intake_aws::messages::RunExport;
use intake_domain::reject::Code;
use reqwest::header::{LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long an export may take on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(90);

const POLL: Duration = Duration::from_millis(50);

/// The points at which a function that writes a file can die.
const POINTS: [&str; 5] = [
    "run-export.claimed",
    "run-export.between-ranges",
    "run-export.recorded",
    "run-export.written",
    "run-export.completed",
];

/// How many orders an export has that is killed: enough for some parts.
const MANY: u64 = 3_000;

/// An order by its number, some of them with what formats must not change.
fn an_order(number: u64) -> Value {
    let name = ["=1+1", "Zoë \"Z\", O'Neill", "a\nb\tc", "-5", "@x", "plain", "+49 30"][number as usize % 7];
    let mut row = order(number, &format!("2026-{:02}-{:02}", 1 + number % 9, 1 + number % 28));
    row["created_at"] = json!("2026-01-02T03:04:05.000006Z");
    row["total_amount"] = json!(format!("{}.{:02}", number % 1_000, number % 100));
    if !number.is_multiple_of(3) {
        row["customer_id"] = json!(id(1 + number % 5));
        row["customer_name_snapshot"] = json!(name);
        row["customer_email_snapshot"] = json!(format!("c{}@shop.example", number % 5));
        row["order_status"] = json!("shipped");
    }
    if number.is_multiple_of(2) {
        row["raw_payload"] = json!({"source": "web", "n": number, "list": [1, null, "\u{e9}"]});
    }
    row
}

/// A shop with so many orders, and some of everything else.
async fn stocked(ground: &Arc<Ground>, orders: u64) -> Result<Shop> {
    let shop = Shop::open(ground).await?;
    let customers = (1..=5).map(|number| {
        let row = at(customer(number), "created_at", "2026-01-02T03:04:05Z");
        if number == 2 { at(row, "metadata", json!({"vip": true, "tags": ["a", null]})) } else { row }
    });
    let products = (1..=7).map(|number| {
        let row = at(product(number), "created_at", "2026-01-02T03:04:05Z");
        if number == 3 { at(at(row, "active", false), "category_id", json!(id(99))) } else { row }
    });
    let items = (1..=orders).map(|number| at(at(item(number), "product_id", json!(id(1 + number % 7))), "quantity", 2));
    let stock = (1..=7).map(|number| json!({"stock_event_id": id(number), "product_id": id(number), "delta": number}));
    let prices = (1..=3).map(|number| {
        json!({
            "event_id": id(number), "product_id": id(4 + number), "old_price": 19.99, "new_price": 18.5,
            "source": "=pim", "metadata": {"n": number}, "event_time": "2026-01-02T03:04:05Z",
        })
    });
    let files = [
        File::new("customers_x.ndjson", ndjson(customers)),
        File::new("products_x.ndjson", ndjson(products)),
        File::new("orders_x.ndjson", ndjson((1..=orders).map(an_order))),
        File::new("order_items_x.ndjson", ndjson(items)),
        File::new("stock_events_x.ndjson", ndjson(stock)),
        File::new("price_events_x.ndjson", ndjson(prices)),
    ];
    let (_, status) = shop.send(&files).await?;
    ensure!(status["state"] == "completed", "{status:#}");
    Ok(shop)
}

fn path_of(shop: &Shop) -> String {
    format!("/api/v1/tenants/{}/reports/export", shop.id)
}

/// Orders an export and gives its id.
pub(super) async fn ordered(shop: &Shop, body: &Value) -> Result<Uuid> {
    let answer = shop.post(&path_of(shop), body).await?;
    let ordered = answer.json(202)?;
    ensure!(ordered["status"] == "pending" && ordered["format"] == body["format"], "{ordered}");
    let export: Uuid = ordered["export_id"].as_str().context("an id")?.parse()?;
    ensure!(answer.header("location") == Some(&format!("{}/{export}", path_of(shop))), "{answer:?}");
    Ok(export)
}

async fn status(shop: &Shop, export: Uuid) -> Result<Value> {
    shop.get(&format!("{}/{export}", path_of(shop))).await?.json(200)
}

/// Waits for an export's end, during which nothing that is done goes back.
pub(super) async fn ended(shop: &Shop, export: Uuid) -> Result<Value> {
    let (since, mut before) = (Instant::now(), [0, 0]);
    loop {
        let status = status(shop, export).await?;
        let now = ["rows_done", "bytes_done"].map(|name| status[name].as_i64().unwrap_or(-1));
        ensure!(before.iter().zip(now).all(|(before, now)| *before <= now), "progress went back: {status:#}");
        if !matches!(status["status"].as_str(), Some("pending" | "running")) {
            return Ok(status);
        }
        if since.elapsed() > PATIENCE {
            bail!("no end after {} s: {status:#}", PATIENCE.as_secs());
        }
        before = now;
        tokio::time::sleep(POLL).await;
    }
}

/// Where a file is to be had.
async fn place(shop: &Shop, export: Uuid) -> Result<String> {
    let url = format!("{}{}/{export}/download", shop.ground.endpoints.api_url, path_of(shop));
    let client = reqwest::Client::builder().redirect(Policy::none()).build()?;
    let answer = client.get(url).header("x-api-key", shop.key.as_str()).send().await?;
    ensure!(answer.status() == StatusCode::FOUND, "{answer:?}");
    Ok(answer.headers().get(LOCATION).context("a place")?.to_str()?.to_owned())
}

/// The file of an export that has ended, held against what is said of it.
async fn file(shop: &Shop, status: &Value) -> Result<Bytes> {
    ensure!(status["status"] == "completed", "{status:#}");
    let export = status["export_id"].as_str().context("an id")?.parse()?;
    let answer = shop.ground.http.get(place(shop, export).await?).send().await?;
    ensure!(answer.status() == StatusCode::OK, "{answer:?}");
    let manifest = &status["manifest"];
    let name = manifest["file_name"].as_str().context("a name")?;
    let disposition = answer.headers().get("content-disposition").context("a name to save it under")?;
    ensure!(disposition == &format!("attachment; filename=\"{name}\""), "{disposition:?}");
    let bytes = answer.bytes().await?;
    ensure!(manifest["bytes"] == bytes.len() && status["bytes_done"] == bytes.len(), "{status:#}");
    ensure!(manifest["sha256"] == hex::encode(Sha256::digest(&bytes)), "{status:#}");
    ensure!(manifest["rows"] == status["rows_done"] && manifest["rows"] == status["rows_estimated"], "{status:#}");
    Ok(bytes)
}

/// Orders an export, waits for it, and gives its end and the file.
async fn taken_out(shop: &Shop, body: &Value) -> Result<(Value, Bytes)> {
    let status = ended(shop, ordered(shop, body).await?).await?;
    let bytes = file(shop, &status).await.with_context(|| body.to_string())?;
    Ok((status, bytes))
}

fn unpacked(compression: &str, bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    match compression {
        "gzip" => drop(MultiGzDecoder::new(bytes).read_to_string(&mut text)?),
        "zstd" => text = String::from_utf8(zstd::stream::decode_all(bytes)?)?,
        _ => text = String::from_utf8(bytes.to_vec())?,
    }
    Ok(text)
}

/// The rows as the database writes them itself, in the order of the file.
async fn stored(shop: &Shop, columns: &str, table: &str, order: &str) -> Result<Vec<Value>> {
    let sql =
        format!("select row_to_json(stored)::text from (select {columns} from {table} order by {order}) as stored");
    shop.books.texts(&sql, &[]).await?.iter().map(|row| Ok(serde_json::from_str(row)?)).collect()
}

const ORDERS: &str = "order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot,
    total_amount, currency, order_status, to_char(order_date at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') as
    order_date, raw_payload, to_char(created_at at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as created_at";

pub(super) async fn every_dataset_is_taken_out_as_it_is(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 1_500).await?;
    let expected = stored(&shop, ORDERS, "orders", "orders.order_date, order_id").await?;
    let packed = ["none", "gzip", "zstd"].map(async |compression| {
        let body = json!({"format": "json", "compression": compression});
        let (status, bytes) = taken_out(&shop, &body).await?;
        let text = unpacked(compression, &bytes)?;
        let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        ensure!(rows == expected, "{compression}: {} rows", rows.len());
        let chunks = status["chunks"].as_array().context("chunks")?;
        ensure!(compression != "none" || chunks.len() > 2, "{status:#}");
        let sum: i64 = chunks.iter().filter_map(|chunk| chunk["bytes"].as_i64()).sum();
        ensure!(chunks.is_empty() || sum == bytes.len() as i64, "{status:#}");
        anyhow::Ok(())
    });
    try_join_all(packed).await?;

    // lines and records of the same export say the same
    for (dataset, count) in [
        ("orders", 1_500),
        ("order_items", 1_500),
        ("products", 7),
        ("customers", 5),
        ("stock", 7),
        ("price_events", 3),
    ] {
        let export = async |format: &str| {
            taken_out(&shop, &json!({"format": format, "dataset": dataset, "compression": "zstd"})).await
        };
        let ((status, lines), (_, records)) = (export("json").await?, export("csv").await?);
        ensure!(status["manifest"]["rows"] == count, "{status:#}");
        let lines = unpacked("zstd", &lines)?;
        let lines: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let records = unpacked("zstd", &records)?;
        let mut reader = csv::Reader::from_reader(records.as_bytes());
        let names: Vec<_> = reader.headers()?.iter().map(str::to_owned).collect();
        let schema = status["manifest"]["schema"].as_array().context("a schema")?;
        ensure!(schema.iter().map(|column| column["name"].as_str()).eq(names.iter().map(|name| Some(name.as_str()))));
        let mut read = 0;
        for (record, line) in reader.records().zip(&lines) {
            let record = record?;
            for (name, cell) in names.iter().zip(&record) {
                let expected = match &line[name] {
                    Value::Null => String::new(),
                    Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
                    Value::String(text) => text.clone(),
                    other if other.is_object() || other.is_array() => {
                        ensure!(serde_json::from_str::<Value>(cell)? == *other, "{name}: {cell}");
                        continue;
                    }
                    other => other.to_string(),
                };
                let is_same =
                    cell == expected || cell.parse::<f64>().ok().is_some_and(|number| expected.parse() == Ok(number));
                ensure!(is_same, "{dataset}.{name}: {cell} for {expected}");
            }
            read += 1;
        }
        ensure!(read == count && lines.len() == count, "{dataset}: {read} records");
    }
    Ok(())
}

/// A value of a line as `parquet::read` has it.
fn as_read(kind: &str, value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if kind.starts_with("decimal") => json!(format!("{number:.2}")),
        _ => value.clone(),
    }
}

pub(super) async fn parquet_opens_where_others_open_it(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 700).await?;
    for (dataset, count) in
        [("orders", 700), ("order_items", 700), ("products", 7), ("customers", 5), ("stock", 7), ("price_events", 3)]
    {
        let (lines, parquet) = ["json", "parquet"].map(|format| json!({"format": format, "dataset": dataset})).into();
        let ((_, lines), (status, file)) = tokio::try_join!(taken_out(&shop, &lines), taken_out(&shop, &parquet))?;
        let lines: Vec<Value> =
            unpacked("none", &lines)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let read = crate::support::parquet::read(&file, &format!("{}.parquet", Uuid::now_v7())).await?;
        let schema = status["manifest"]["schema"].as_array().context("a schema")?;
        for reader in ["pyarrow", "duckdb"] {
            let rows = read[reader]["rows"].as_array().context("rows")?;
            ensure!(rows.len() == count && lines.len() == count, "{reader} finds {} rows", rows.len());
            for (at, column) in schema.iter().enumerate() {
                let (name, kind) = (column["name"].as_str(), column["type"].as_str());
                let (name, kind) = name.zip(kind).context("a column")?;
                let wanted = match (reader, kind) {
                    ("pyarrow", "uuid") => &["extension<arrow.uuid>", "fixed_size_binary[16]"][..],
                    ("pyarrow", "text" | "json") => &["string"],
                    ("pyarrow", "decimal(12,2)") => &["decimal128(12, 2)"],
                    ("pyarrow", "decimal(17,2)") => &["decimal128(17, 2)"],
                    ("pyarrow", "int32") => &["int32"],
                    ("pyarrow", "int64") => &["int64"],
                    ("pyarrow", "boolean") => &["bool"],
                    ("pyarrow", _) => &["timestamp[us, tz=UTC]"],
                    (_, "uuid") => &["UUID"],
                    (_, "text" | "json") => &["VARCHAR"],
                    (_, "decimal(12,2)") => &["DECIMAL(12,2)"],
                    (_, "decimal(17,2)") => &["DECIMAL(17,2)"],
                    (_, "int32") => &["INTEGER"],
                    (_, "int64") => &["BIGINT"],
                    (_, "boolean") => &["BOOLEAN"],
                    _ => &["TIMESTAMP WITH TIME ZONE"],
                };
                let found = read[reader]["types"][name].as_str().context("a type")?;
                ensure!(wanted.contains(&found), "{dataset}.{name} is {found} to {reader}");
                for (row, line) in rows.iter().zip(&lines) {
                    let mut cell = row[at].clone();
                    if let ("json", Some(text)) = (kind, cell.as_str()) {
                        cell = serde_json::from_str(text)?;
                    }
                    ensure!(
                        cell == as_read(kind, &line[name]),
                        "{reader}: {dataset}.{name}: {cell} for {}",
                        line[name]
                    );
                }
            }
        }
    }
    Ok(())
}

pub(super) async fn what_is_taken_out_can_be_sent_again(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 400).await?;
    // an empty text is none, and PostgreSQL writes objects otherwise than they came: with spaces, and numbers without exponents
    let with = |number: u64, payload: &str| {
        let row = at(order(number, "2026-01-31"), "customer_name_snapshot", "").to_string();
        format!("{},\"raw_payload\":{payload}}}", row.trim_end_matches('}'))
    };
    let long = |number: &str, count: usize| format!("{{\"a\":[{}]}}", vec![number; count].join(","));
    let rows = [
        with(9_001, r#"{"price": 1.50, "n": 1e3, "text": "a, b: \" c\\", "list": [1,2, {"": null}]}"#),
        with(9_002, &long("1e20", 45_000)),
        with(9_003, &long("1", 400_000)),
        with(9_004, &long("1e300", 4_000)),
    ];
    let (session, status) = shop.send(&[File::new("orders.ndjson", crate::support::lines(rows))]).await?;
    ensure!(counts(&status) == [4, 3, 0, 0, 1], "{status:#}");
    let refused = shop.rejects(&session, 10).await?;
    ensure!(refused[0].errors[0].code == Code::InvalidObject, "{:?}", refused[0].errors);
    for (format, options) in [("json", json!({})), ("csv", json!({"spreadsheet_safe": false}))] {
        for dataset in ["customers", "products", "orders", "order_items", "price_events"] {
            let mut body = json!({"format": format, "dataset": dataset, "compression": "gzip"});
            body.as_object_mut().context("an object")?.extend(options.as_object().cloned().unwrap_or_default());
            if dataset == "products" {
                // of the others a price was changed by an event, and their next row is news
                body["filters"] = json!({"product_ids": [id(1), id(2), id(3), id(4)]});
            }
            let (status, bytes) = taken_out(&shop, &body).await?;
            let name = status["manifest"]["file_name"].as_str().context("a name")?;
            let rows = status["manifest"]["rows"].as_i64().context("rows")?;
            let (_, again) = shop.send(&[File::new(name, bytes.to_vec())]).await?;
            ensure!(counts(&again) == [rows, 0, 0, rows, 0], "{format} of {dataset}, {rows} rows: {again:#}");
        }
    }
    Ok(())
}

pub(super) async fn filters_and_columns_are_those_that_were_asked_for(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 300).await?;
    let of_orders = |condition: &'static str| (condition, "orders", "order_id", "orders.order_date, order_id");
    for (dataset, filters, (condition, table, column, order)) in [
        ("orders", json!({"order_status": "shipped"}), of_orders("order_status = 'shipped'")),
        ("orders", json!({"min_price": 20, "max_price": "30.5"}), of_orders("total_amount between 20 and 30.5")),
        (
            "orders",
            json!({"start_date": "2026-02-01", "end_date": "2026-03-31"}),
            of_orders("order_date >= '2026-02-01' and order_date < '2026-04-01'"),
        ),
        ("orders", json!({"payload": {"n": 8}}), of_orders("raw_payload @> '{\"n\": 8}'")),
        ("orders", json!({"q": "zoË"}), of_orders("customer_name_snapshot ilike '%Zoë%'")),
        (
            "orders",
            json!({"product_ids": [id(3)], "order_status": ["shipped", "pending"]}),
            of_orders(
                "exists (select from order_items where order_items.order_id = orders.order_id and product_id =
                '1d000000-0000-4000-8000-000000000003')",
            ),
        ),
        (
            "order_items",
            json!({"q": "plain", "product_ids": id(6).to_string()}),
            (
                "product_id = '1d000000-0000-4000-8000-000000000006' and exists (select from orders where
                orders.order_id = order_items.order_id and customer_name_snapshot like '%plain%')",
                "order_items",
                "order_item_id",
                "order_item_id",
            ),
        ),
        ("products", json!({"max_price": 19}), ("price <= 19", "products", "product_id", "product_id")),
        ("customers", json!({"q": "C4@SHOP"}), ("email like 'c4@%'", "customers", "customer_id", "customer_id")),
        (
            "stock",
            json!({"product_ids": [id(3), id(4)]}),
            ("product_id::text ~ '[34]$'", "stock_levels", "product_id", "product_id"),
        ),
    ] {
        let body = json!({"format": "json", "dataset": dataset, "filters": filters, "columns": [column]});
        let (_, bytes) = taken_out(&shop, &body).await?;
        let rows: Vec<Value> = unpacked("none", &bytes)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let expected = stored(&shop, column, &format!("{table} where {condition}"), order).await?;
        ensure!(
            !expected.is_empty() && rows == expected,
            "{filters} of {dataset}: {} of {}",
            rows.len(),
            expected.len()
        );
    }
    // a null alone in its line is a row
    let (status, bytes) = taken_out(&shop, &json!({"format": "csv", "columns": ["customer_id"]})).await?;
    let records = csv::Reader::from_reader(bytes.as_ref()).into_records().collect::<Result<Vec<_>, _>>()?;
    ensure!(status["manifest"]["rows"] == 300 && records.len() == 300, "{} records: {status:#}", records.len());
    // nothing is a file, too
    let none = json!({"q": "nobody at all"});
    for (format, compression, text) in
        [("csv", "gzip", "order_id\r\n"), ("json", "gzip", ""), ("json", "none", ""), ("csv", "zstd", "order_id\r\n")]
    {
        let body = json!({"format": format, "compression": compression, "filters": none, "columns": ["order_id"]});
        let (status, bytes) = taken_out(&shop, &body).await?;
        ensure!(status["manifest"]["rows"] == 0 && unpacked(compression, &bytes)? == text, "{status:#}");
    }
    Ok(())
}

pub(super) async fn a_download_can_go_on_where_it_broke_off(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 200).await?;
    let (status, whole) = taken_out(&shop, &json!({"format": "csv"})).await?;
    let export: Uuid = status["export_id"].as_str().context("an id")?.parse()?;
    let url = place(&shop, export).await?;
    let part = ground.http.get(&url).header(RANGE, "bytes=100-299").send().await?;
    ensure!(part.status() == StatusCode::PARTIAL_CONTENT, "{part:?}");
    ensure!(part.bytes().await? == whole.slice(100..300));
    // whoever holds the place needs no key, and whoever has another's key has no place
    let other = Shop::open(&ground).await?;
    for path in ["", "/download"] {
        let answer = other.get(&format!("{}/{export}{path}", path_of(&other))).await?;
        ensure!(answer.status == 404, "{answer:?}");
    }
    let path = format!("{}/{export}/cancel", path_of(&other));
    ensure!(other.post(&path, &json!({})).await?.status == 404);
    let answer = other.get(&format!("{}/{export}", path_of(&shop))).await?;
    ensure!(answer.status == 404, "{answer:?}");
    Ok(())
}

pub(super) async fn a_wrong_order_is_pointed_at(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for (body, pointer) in [
        (json!({}), "/format"),
        (json!({"format": "xls"}), "/format"),
        (json!({"format": 7}), "/format"),
        (json!({"format": "csv", "colour": "red"}), "/colour"),
        (json!({"format": "csv", "compression": "rar"}), "/compression"),
        (json!({"format": "parquet", "compression": "zstd"}), "/compression"),
        (json!({"format": "csv", "dataset": "tenants"}), "/dataset"),
        (json!({"format": "csv", "columns": ["order_id", "payload_hash"]}), "/columns/1"),
        (json!({"format": "csv", "filters": {"colour": "red"}}), "/filters/colour"),
        (json!({"format": "csv", "filters": [null, null, null, null, null, null, null, null]}), "/filters"),
        (json!({"format": "csv", "filters": {"end_date": "20260131"}}), "/filters/end_date"),
        (json!({"format": "csv", "filters": {"min_price": "cheap"}}), "/filters/min_price"),
        (json!({"format": "csv", "filters": {"start_date": "31.02.2026"}}), "/filters/start_date"),
        (json!({"format": "csv", "dataset": "products", "filters": {"q": "x"}}), "/filters/q"),
        (json!({"format": "json", "spreadsheet_safe": true}), "/spreadsheet_safe"),
    ] {
        let problem = shop.post(&path_of(&shop), &body).await?.json(422)?;
        let pointers: Vec<_> =
            problem["errors"].as_array().context("errors")?.iter().map(|error| error["pointer"].clone()).collect();
        ensure!(pointers == [json!(pointer)], "{body}: {problem}");
    }
    for (query, pointer) in
        [("limit=0", "/limit"), ("limit=x", "/limit"), ("cursor=x", "/cursor"), ("colour=red", "/colour")]
    {
        let problem = shop.get(&format!("{}?{query}", path_of(&shop))).await?.json(400)?;
        ensure!(problem["errors"][0]["pointer"] == pointer, "{query}: {problem}");
    }
    ensure!(shop.get(&format!("{}/{}", path_of(&shop), Uuid::now_v7())).await?.status == 404);
    ensure!(shop.get(&format!("{}/x", path_of(&shop))).await?.status == 404);
    let none = shop.get(&path_of(&shop)).await?.json(200)?;
    ensure!(none == json!({"exports": [], "next_cursor": null}), "{none}");
    Ok(())
}

pub(super) async fn an_order_is_one_export_however_often_it_is_sent(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 20).await?;
    // whoever takes the order dies before its message is sent
    ground.arm("report-api.export-ordered", shop.id, "kill")?;
    let send = async || {
        let request = shop.request(Method::POST, &path_of(&shop)).header("idempotency-key", "one");
        Answer::to(request.json(&json!({"format": "csv"}))).await
    };
    let since = Instant::now();
    let first = loop {
        let answer = send().await?;
        if answer.status == 202 {
            break answer;
        }
        ensure!(since.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let second = send().await?;
    ensure!(second.text == first.text && second.header("idempotent-replayed") == Some("true"), "{second:?}");
    let export = first.json(202)?["export_id"].as_str().context("an id")?.parse()?;
    let status = ended(&shop, export).await?;
    ensure!(status["manifest"]["rows"] == 20, "{status:#}");

    // the list, in pages
    let other = ordered(&shop, &json!({"format": "json"})).await?;
    ended(&shop, other).await?;
    let page = shop.get(&format!("{}?limit=1", path_of(&shop))).await?.json(200)?;
    ensure!(page["exports"][0]["export_id"] == other.to_string(), "{page}");
    let cursor = page["next_cursor"].as_str().context("a cursor")?;
    let page = shop.get(&format!("{}?limit=1&cursor={cursor}", path_of(&shop))).await?.json(200)?;
    ensure!(page["exports"][0]["export_id"] == export.to_string() && page["next_cursor"].is_null(), "{page}");
    Ok(())
}

pub(super) async fn memory_does_not_grow_with_the_file(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    // payloads of 6 KiB, which no compression makes small, and one of a MiB now and then
    let fill = "insert into orders
        select $1, gen_random_uuid(), 'ORD-' || number, null, null, null, 1, 'USD', 'pending',
            timestamptz '2026-01-01' + number * interval '1 minute', jsonb_build_object('text', (
                select string_agg(md5(random()::text), '')
                from generate_series(1, case when number % 2000 = 0 then 30000 else 190 end) where number > 0
            )), now()
        from generate_series(1, 8000) as number";
    shop.books.execute(fill, &[&shop.id]).await?;
    for format in ["json", "parquet"] {
        let status = ended(&shop, ordered(&shop, &json!({"format": format})).await?).await?;
        let bytes = status["bytes_done"].as_u64().context("bytes")?;
        ensure!(status["manifest"]["rows"] == 8_000 && bytes > 20 << 20, "{status:#}");
    }
    let peak = peak_mib(&ground, "run-export");
    ensure!(peak > 0 && peak < MAX_MIB, "the function took {peak} MiB");
    Ok(())
}

/// How many objects, and uploads that were not finished, a shop has in the bucket.
async fn left(shop: &Shop) -> Result<[usize; 2]> {
    let (bucket, prefix) = (&shop.ground.endpoints.bucket, format!("exports/{}/", shop.id));
    let objects = shop.ground.s3.list_objects_v2().bucket(bucket).prefix(&prefix).send().await?;
    let uploads = shop.ground.s3.list_multipart_uploads().bucket(bucket).prefix(&prefix).send().await?;
    let uploads = uploads.uploads().iter().filter(|upload| upload.key().is_some_and(|key| key.starts_with(&prefix)));
    Ok([objects.contents().len(), uploads.count()])
}

pub(super) async fn a_cancelled_export_leaves_nothing(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, 1_500).await?;
    ground.arm("run-export.between-ranges", shop.id, "sleep 3000")?;
    let export = ordered(&shop, &json!({"format": "csv"})).await?;
    let since = Instant::now();
    while ground.armed("run-export.between-ranges", shop.id).is_some() && since.elapsed() < PATIENCE {
        tokio::time::sleep(POLL).await;
    }
    let path = format!("{}/{export}", path_of(&shop));
    let running = shop.get(&format!("{path}/download")).await?;
    ensure!(running.json(409)?["code"] == "EXPORT_NOT_READY", "{running:?}");
    for _ in 0..2 {
        let cancelled = shop.post(&format!("{path}/cancel"), &json!({})).await?.json(200)?;
        ensure!(cancelled["status"] == "cancelled" && cancelled["manifest"].is_null(), "{cancelled}");
    }
    let gone = shop.get(&format!("{path}/download")).await?;
    ensure!(gone.json(410)?["code"] == "EXPORT_CANCELLED", "{gone:?}");
    let since = Instant::now();
    while left(&shop).await? != [0, 0] {
        ensure!(since.elapsed() < Duration::from_secs(10), "{:?} are left", left(&shop).await?);
        tokio::time::sleep(POLL).await;
    }
    // a message that comes later finds it ended
    let message = RunExport { tenant_id: shop.id, export_id: export };
    ensure!(ground.deliver("RunExport", &serde_json::to_string(&message)?).await?);
    ensure!(status(&shop, export).await?["status"] == "cancelled" && left(&shop).await? == [0, 0]);

    // nor does anything stay of what S3 put together when it had been cancelled
    let name = format!("orders_{}_{}.csv", shop.id, &export.simple().to_string()[20..]);
    let key = format!("exports/{}/{export}/1/{name}", shop.id);
    let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(key).body(b"a\n".to_vec().into());
    put.send().await?;
    ensure!(ground.deliver("RunExport", &serde_json::to_string(&message)?).await?);
    ensure!(left(&shop).await? == [0, 0], "{:?} are left", left(&shop).await?);

    // one that is there has ended, and expires by the clock: seven days after it was ordered
    let (done, _) = taken_out(&shop, &json!({"format": "csv", "dataset": "stock"})).await?;
    let path = format!("{}/{}", path_of(&shop), done["export_id"].as_str().context("an id")?);
    let late = shop.post(&format!("{path}/cancel"), &json!({})).await?;
    ensure!(late.json(409)?["code"] == "EXPORT_ENDED", "{late:?}");
    let days = "select distinct (expires_at - created_at)::text from exports";
    ensure!(shop.books.texts(days, &[]).await? == ["7 days"]);
    let soon = "update exports set expires_at = now() + interval '5 minutes' where tenant_id = $1";
    shop.books.execute(soon, &[&shop.id]).await?;
    let address = Url::parse(&place(&shop, done["export_id"].as_str().context("an id")?.parse()?).await?)?;
    let lifetime =
        address.query_pairs().find(|(name, _)| name == "X-Amz-Expires").context("a lifetime")?.1.parse::<u64>()?;
    ensure!((200..=300).contains(&lifetime), "it leads nowhere after {lifetime} s");
    shop.books.execute("update exports set expires_at = now() where tenant_id = $1", &[&shop.id]).await?;
    let expired = shop.get(&path).await?.json(200)?;
    ensure!(expired["status"] == "expired" && expired["manifest"]["rows"] == 7, "{expired}");
    let expired = shop.get(&format!("{path}/download")).await?;
    ensure!(expired.json(410)?["code"] == "EXPORT_EXPIRED", "{expired:?}");
    Ok(())
}

/// Kills whoever writes the file at a point, while rows change or do not, and holds the file against one state of the rows.
async fn killed_at(shop: &Shop, point: &str, action: &str, format: &str, rows_change: bool) -> Result<()> {
    let ground = &shop.ground;
    ground.arm(point, shop.id, action)?;
    let export = ordered(shop, &json!({"format": format, "columns": ["order_id", "currency", "raw_payload"]})).await?;
    // all orders at once, again and again: whatever the state, all rows of it have the same currency
    let changing = async {
        let sql = "update orders set currency = case currency when 'USD' then 'EUR' else 'USD' end";
        if !rows_change {
            return std::future::pending::<Result<()>>().await;
        }
        loop {
            shop.books.execute(sql, &[]).await?;
            tokio::time::sleep(POLL).await;
        }
    };
    // the books are kept beside the writing, which must not be over before they were reached
    let slowed = async {
        while ground.armed(point, shop.id).is_some() {
            ground.arm("run-export.between-ranges", shop.id, "sleep 100")?;
            tokio::time::sleep(POLL).await;
        }
        std::future::pending::<Result<()>>().await
    };
    let slowed = async {
        match point {
            "run-export.recorded" => slowed.await,
            _ => std::future::pending().await,
        }
    };
    let status = tokio::select! {
        status = ended(shop, export) => status?,
        failed = changing => return failed,
        failed = slowed => return failed,
    };
    let armed = ground.armed(point, shop.id);
    for point in [point, "run-export.between-ranges"] {
        ground.disarm(point, shop.id);
    }
    ensure!(armed.is_none(), "nobody came by {point}");
    let text = unpacked("none", &file(shop, &status).await?)?;
    let rows: Vec<(String, String)> = match format {
        "json" => text
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line)?;
                let of = |name: &str| row[name].as_str().map(str::to_owned).context("a text");
                Ok((of("order_id")?, of("currency")?))
            })
            .collect::<Result<_>>()?,
        _ => {
            let mut reader = csv::Reader::from_reader(text.as_bytes());
            reader
                .deserialize::<(String, String, String)>()
                .map(|row| row.map(|(id, currency, _)| (id, currency)))
                .collect::<Result<_, _>>()?
        }
    };
    let expected = stored(shop, "order_id", "orders", "orders.order_date, order_id").await?;
    let ids = expected.iter().filter_map(|row| row["order_id"].as_str());
    ensure!(ids.eq(rows.iter().map(|row| row.0.as_str())), "{point}: {} rows of {}", rows.len(), expected.len());
    let currencies: BTreeSet<_> = rows.iter().map(|row| row.1.as_str()).collect();
    ensure!(currencies.len() == 1, "{point}: rows of several states");
    // what was begun and not finished is not left behind; an object of a try that died over its end may be
    ensure!(left(shop).await?[1] == 0, "{point}: {:?} are left", left(shop).await?);
    Ok(())
}

pub(super) async fn a_function_that_dies_leaves_no_gap_and_no_double_row(ground: Arc<Ground>) -> Result<()> {
    let shops = try_join_all([stocked(&ground, MANY), stocked(&ground, MANY)]).await?;
    let tries = shops.iter().zip([false, true]).map(async |(shop, rows_change)| {
        for point in POINTS {
            // nobody comes by the end twice
            let twice = if point == "run-export.completed" { "kill" } else { "kill 2" };
            for (format, action) in [("json", "kill"), ("csv", twice)] {
                let killed = killed_at(shop, point, action, format, rows_change).await;
                killed.with_context(|| format!("{point}, {action}, {format}, rows change: {rows_change}"))?;
            }
        }
        anyhow::Ok(())
    });
    let tries = async {
        // longer than whoever is slowed takes: a message that comes back meanwhile is received in vain, and given up at the fifth time
        ground.hide_for(&BTreeMap::from([("exports".to_owned(), "3".to_owned())])).await?;
        try_join_all(tries).await
    };
    ground.hurried(tries).await.map(drop)
}

/// What an invocation keeps for itself is all that it has, but for two seconds.
const SHORT_SECONDS: u64 = 62;

pub(super) async fn what_does_not_fit_into_an_invocation_is_handed_on(ground: Arc<Ground>) -> Result<()> {
    let shop = stocked(&ground, MANY).await?;
    let before = ground.limit_to("RunExport", SHORT_SECONDS).await?;
    let tries = async {
        // Whoever dies after it has handed the rest on has its own message come again: then two have the same export in hand.
        for (action, rows_change) in [("sleep 1", false), ("kill", false), ("kill", true)] {
            ground.arm("run-export.between-ranges", shop.id, "sleep 3000")?;
            let handed_on = killed_at(&shop, "run-export.handed-on", action, "csv", rows_change).await;
            handed_on.with_context(|| format!("{action}, rows change: {rows_change}"))?;
        }
        ground.arm("run-export.between-ranges", shop.id, "sleep 3000")?;
        let late = ended(&shop, ordered(&shop, &json!({"format": "parquet"})).await?).await?;
        ensure!((&late["status"], &late["error"]["code"]) == (&json!("failed"), &json!("TOO_SLOW")), "{late:#}");
        Ok(())
    };
    let done = AssertUnwindSafe(ground.hurried(tries)).catch_unwind().await;
    let restored = ground.limit_to("RunExport", before).await;
    done.unwrap_or_else(|panic| resume_unwind(panic)).and(restored.map(drop))
}
