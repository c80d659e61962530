//! Small files in a request itself.

use crate::support::{Answer, File, Ground, Line, Probe, Session, Shop, counts, customer, lines, ndjson, order};
use anyhow::{Context, Result, ensure};
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use flate2::Compression;
use flate2::write::GzEncoder;
use ingest_api::App;
use intake_aws::idempotency::Records;
use intake_aws::{Objects, Queue, RateTable};
use intake_domain::rate::Quotas;
use intake_lambda::edge::{Edge, Limiter};
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
use intake_postgres::Database;
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::sleep;
use uuid::Uuid;

const COMPREHENSIVE: &str = "/api/v1/ingest/comprehensive";
const ORDERS: &str = "/api/v1/ingest/orders";

/// A form with one file in it, as `curl -F file=@name` sends it.
fn form(name: &str, bytes: &[u8], boundary: &str) -> Vec<u8> {
    let disposition = format!("form-data; name=\"file\"; filename=\"{name}\"");
    let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nx\r\n--{boundary}\r\n");
    let head = format!("{head}Content-Disposition: {disposition}\r\nContent-Type: application/octet-stream\r\n\r\n");
    [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat()
}

async fn post_form(shop: &Shop, path: &str, name: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Result<Answer> {
    // each client makes up a boundary of its own for each request
    let boundary = Uuid::new_v4().simple().to_string();
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let request = shop.request(Method::POST, path).header("content-type", content_type);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::to(request.body(form(name, bytes, &boundary))).await
}

async fn post_raw(shop: &Shop, path: &str, bytes: &[u8], headers: &[(&str, &str)]) -> Result<Answer> {
    let key = Uuid::new_v4().to_string();
    let request = shop.request(Method::POST, path).header("idempotency-key", key);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Answer::to(request.body(bytes.to_vec())).await
}

fn session_of(taken: &Value) -> Result<Session> {
    Ok(Session {
        token: taken["upload_token"].as_str().context("a token")?.to_owned(),
        id: taken["upload_id"].as_str().context("an id")?.parse()?,
        files: Vec::new(),
    })
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

pub(super) async fn the_predecessors_form_is_taken_once(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let name = format!("customers_{}_chunk_0000.ndjson", shop.id);
    let bytes = lines([customer(1).to_string(), String::new(), "{}".to_owned(), customer(2).to_string()]);
    let key = [("idempotency-key", "night 1")];
    let answer = post_form(&shop, &format!("{COMPREHENSIVE}/"), &name, &bytes, &key).await?;
    let taken = answer.json(201)?;
    assert_eq!((&taken["data_type"], &taken["status"]), (&"customers".into(), &"queued".into()));
    assert_eq!(
        (&taken["rows_received"], &taken["rows_inserted"], &taken["rows_failed"]),
        (&3.into(), &0.into(), &0.into())
    );
    assert_eq!(taken["idempotency_key"], "night 1");
    for field in ["upload_id", "chunk_id", "upload_token"] {
        assert!(taken[field].as_str().is_some_and(|id| Uuid::try_parse(id).is_ok()), "{field}: {taken}");
    }
    let again = post_form(&shop, COMPREHENSIVE, &name, &bytes, &key).await?;
    assert_eq!((again.header("idempotent-replayed"), &again.text), (Some("true"), &answer.text));
    let other = post_form(&shop, COMPREHENSIVE, &name, &bytes[1..], &key).await?;
    assert_eq!(other.json(422)?["code"], "IDEMPOTENCY_KEY_REUSED");
    let status = shop.finished(&session_of(&taken)?).await?;
    assert_eq!(counts(&status), [3, 2, 0, 0, 1]);
    assert_eq!(shop.books.texts("select count(*)::text from upload_sessions", &[]).await?, ["1"]);

    let orders = ndjson([order(1, "2026-01-31")]);
    let taken = post_form(&shop, ORDERS, "x.ndjson", &orders, &[("idempotency-key", "2")]).await?.json(201)?;
    assert_eq!((&taken["data_type"], &taken["rows_received"]), (&"orders".into(), &1.into()));
    assert_eq!(counts(&shop.finished(&session_of(&taken)?).await?), [1, 1, 0, 0, 0]);
    Ok(())
}

pub(super) async fn a_raw_body_may_be_packed_and_of_either_layout(ground: Arc<Ground>) -> Result<()> {
    let rows = ndjson((0..50).map(customer));
    let csv = lines(["customer_id,name,email".to_owned()].into_iter().chain((0..50).map(|number| {
        let row = customer(number);
        let text = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        format!("{},\"a\nb {}\",{}", text("customer_id"), text("name"), text("email"))
    })));
    let (ndjson_type, csv_type) =
        (("content-type", "application/x-ndjson; charset=utf-8"), ("content-type", "text/csv"));
    for (what, query, bytes, headers) in [
        ("plain", "dataset=customers", rows.clone(), vec![ndjson_type]),
        ("gzip", "dataset=customers", gzip(&rows)?, vec![ndjson_type, ("content-encoding", "gzip")]),
        ("zstd", "dataset=customers", zstd::encode_all(&rows[..], 3)?, vec![ndjson_type, ("content-encoding", "zstd")]),
        ("by name", "name=customers_1.ndjson.gz", gzip(&rows)?, vec![ndjson_type]),
        ("csv", "dataset=customers", csv.clone(), vec![csv_type]),
        ("packed csv", "name=customers.csv.zst", zstd::encode_all(&csv[..], 3)?, vec![csv_type]),
    ] {
        let shop = Shop::open(&ground).await?;
        let answer = post_raw(&shop, &format!("{COMPREHENSIVE}?{query}"), &bytes, &headers).await?;
        let taken = answer.json(201).context(what)?;
        assert_eq!(taken["rows_received"], 50, "{what}");
        let status = shop.finished(&session_of(&taken)?).await.context(what)?;
        assert_eq!(counts(&status), [50, 50, 0, 0, 0], "{what}: {status:#}");
        assert_eq!(status["files"][0]["bytes"], json!({"total": bytes.len(), "loaded": bytes.len()}), "{what}");
    }
    let shop = Shop::open(&ground).await?;
    let taken = post_raw(&shop, &format!("{ORDERS}/?name=orders"), b"", &[ndjson_type]).await?.json(201)?;
    assert_eq!(taken["rows_received"], 0);
    assert_eq!(shop.finished(&session_of(&taken)?).await?["state"], "completed");
    Ok(())
}

pub(super) async fn files_join_the_session_that_is_named(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let session = shop.create(&json!({"max_rejects": 0})).await?;
    let token = ("upload-token", session.token.as_str());
    for (at, (name, bytes)) in [
        ("orders_1.ndjson", ndjson([order(1, "2026-01-31")])),
        ("customers_1.ndjson", ndjson([customer(1)])),
        ("customers_2.ndjson", lines(["{}"])),
    ]
    .iter()
    .enumerate()
    {
        let key = format!("file {at}");
        let taken =
            post_form(&shop, COMPREHENSIVE, name, bytes, &[token, ("idempotency-key", &key)]).await?.json(201)?;
        assert_eq!((&taken["upload_token"], &taken["upload_id"]), (&session.token.as_str().into(), &json!(session.id)));
    }
    let status = shop.finished(&session).await?;
    let files: Vec<_> = status["files"].as_array().context("files")?.iter().map(|file| &file["name"]).collect();
    assert_eq!(files, ["customers_1.ndjson", "customers_2.ndjson", "orders_1.ndjson"], "in their turn");
    assert_eq!(status["files"][1]["policy"]["max_rejects"], 0, "the session's policy holds");

    let send = async |shop: &Shop, token: &str| {
        let headers = [("content-type", "application/x-ndjson"), ("upload-token", token)];
        post_raw(shop, &format!("{COMPREHENSIVE}?dataset=customers"), b"", &headers).await
    };
    assert_eq!(send(&stranger, &session.token).await?.json(404)?["code"], "NOT_FOUND");
    assert_eq!(send(&shop, "no token").await?.json(404)?["code"], "NOT_FOUND");
    let cancelled = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    shop.post(&format!("/api/v1/ingest/sessions/{}/cancel", cancelled.token), &json!({})).await?.json(200)?;
    assert_eq!(send(&shop, &cancelled.token).await?.json(410)?["code"], "CANCELLED");
    let expire = "update upload_sessions set expires_at = now() - interval '1 second' where session_id = $1";
    shop.books.execute(expire, &[&session.id]).await?;
    assert_eq!(send(&shop, &session.token).await?.json(410)?["code"], "EXPIRED");
    Ok(())
}

pub(super) async fn what_is_no_small_file_is_refused(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let ndjson_type = ("content-type", "application/x-ndjson");
    let missing =
        shop.request(Method::POST, &format!("{COMPREHENSIVE}?dataset=customers")).header(ndjson_type.0, ndjson_type.1);
    assert_eq!(Answer::to(missing.body("{}")).await?.json(400)?["code"], "IDEMPOTENCY_KEY_REQUIRED");
    let no_text = shop.request(Method::POST, &format!("{COMPREHENSIVE}?dataset=customers"));
    let no_text = no_text.header("idempotency-key", "no text").header(ndjson_type.0, ndjson_type.1).body("{}");
    let no_text = no_text.header("content-encoding", HeaderValue::from_bytes(b"\xc2\x84")?);
    assert_eq!(Answer::to(no_text).await?.json(415)?["code"], "UNSUPPORTED_ENCODING");
    let gz = gzip(b"{}\n")?;
    for (path, headers, bytes, status, code) in [
        (
            format!("{COMPREHENSIVE}?dataset=customers"),
            vec![("content-type", "application/pdf")],
            &b"{}"[..],
            415,
            "UNSUPPORTED_MEDIA_TYPE",
        ),
        (
            format!("{COMPREHENSIVE}?dataset=customers"),
            vec![ndjson_type, ("content-encoding", "br")],
            b"{}",
            415,
            "UNSUPPORTED_ENCODING",
        ),
        (
            COMPREHENSIVE.to_owned(),
            vec![("content-type", "multipart/form-data; boundary=x"), ("content-encoding", "br")],
            b"--x",
            415,
            "UNSUPPORTED_ENCODING",
        ),
        (format!("{COMPREHENSIVE}?flavour=customers"), vec![ndjson_type], b"{}", 400, "INVALID_QUERY"),
        (COMPREHENSIVE.to_owned(), vec![("content-type", "multipart/form-data")], b"{}", 400, "INVALID_MULTIPART"),
        (
            COMPREHENSIVE.to_owned(),
            vec![("content-type", "multipart/form-data; boundary=x")],
            b"--y",
            400,
            "INVALID_MULTIPART",
        ),
    ] {
        let refused = post_raw(&shop, &path, bytes, &headers).await?;
        assert_eq!(refused.json(status)?["code"], code, "{path} {headers:?}");
    }
    for (path, bytes, pointer, code) in [
        (COMPREHENSIVE.to_owned(), &b"{}"[..], "/name", "NO_DATASET"),
        (format!("{COMPREHENSIVE}?dataset=bananas"), b"{}", "/dataset", "UNKNOWN_DATASET"),
        (format!("{COMPREHENSIVE}?name=customers.csv"), b"{}", "/name", "FORMAT_MISMATCH"),
        (format!("{COMPREHENSIVE}?dataset=customers"), &gz, "/name", "FORMAT_MISMATCH"),
        (format!("{COMPREHENSIVE}?name=customers.ndjson.gz"), b"{}", "/name", "FORMAT_MISMATCH"),
        (format!("{COMPREHENSIVE}?name=customers.ndjson.gz"), &gz[..gz.len() - 3], "/file", "CORRUPT_COMPRESSION"),
        (format!("{ORDERS}?dataset=customers"), b"{}", "/dataset", "DATASET_MISMATCH"),
        (format!("{ORDERS}?name=customers_1.ndjson"), b"{}", "/name", "DATASET_MISMATCH"),
    ] {
        let refused = post_raw(&shop, &path, bytes, &[ndjson_type]).await?.json(422)?;
        let error = &refused["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&pointer.into(), &code.into()), "{path}: {refused}");
    }
    // the largest that is taken, and one that is larger
    let limit = 4 << 20;
    let row = customer(1).to_string();
    let mut whole = format!("{row}{}\n", " ".repeat(1_000)).repeat(limit / (row.len() + 1_001)).into_bytes();
    whole.resize(limit, b'\n');
    let taken =
        post_raw(&shop, &format!("{COMPREHENSIVE}?dataset=customers"), &whole, &[ndjson_type]).await?.json(201)?;
    assert_eq!(taken["rows_received"], limit / (row.len() + 1_001));
    whole.push(b'\n');
    for answer in [
        post_raw(&shop, &format!("{COMPREHENSIVE}?dataset=customers"), &whole, &[ndjson_type]).await?,
        post_form(&shop, COMPREHENSIVE, "customers.ndjson", &whole, &[("idempotency-key", "large")]).await?,
    ] {
        let refused = answer.json(413)?;
        assert_eq!(refused["code"], "PAYLOAD_TOO_LARGE");
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("POST /api/v1/ingest/sessions")));
    }
    assert_eq!(shop.books.texts("select count(*)::text from files", &[]).await?, ["1"], "nothing else was declared");
    let session = session_of(&taken)?;
    shop.post(&format!("/api/v1/ingest/sessions/{}/cancel", session.token), &json!({})).await?;
    shop.ended(&session).await?;
    Ok(())
}

/// How long the bucket is waited for, over a line.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a claim holds that nobody gives back: less than that, so that a second request finds the first one still at work.
const SHORT: Duration = Duration::from_millis(500);

/// The function in this process, which reaches the bucket over a line.
fn over(ground: &Ground, line: &Line) -> Result<Probe> {
    let aws = line.aws.clone().into_builder().retry_config(RetryConfig::disabled());
    let aws = aws.timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build()).build();
    let queue = |name: &str| ground.endpoints.queues[name].clone();
    let lanes =
        |kind: &str| Lanes::new(&ground.aws, LaneUrls { urgent: queue(&format!("urgent-{kind}")), bulk: queue(kind) });
    let database = Arc::new(Database::new(&ground.endpoints.api_database_url, "tests")?);
    let limiter = Limiter::new(RateTable::new(&ground.aws, ground.table("RateTable")?.to_owned()), Quotas::default());
    let records = Records::new(&ground.aws, ground.table("IdempotencyTable")?.to_owned(), SHORT);
    let edge = Edge::new(Arc::clone(&database), records, limiter);
    let app = App {
        database,
        objects: Objects::new(&aws, ground.endpoints.bucket.clone()),
        uploads: Queue::new(&ground.aws, queue("uploads")),
        chunks: lanes("chunks"),
        turns: Turns { promotions: lanes("promotions"), webhooks: Queue::new(&ground.aws, queue("webhooks")) },
        part_bytes: 5 << 20,
        webhook_allowed_hosts: Vec::new(),
    };
    Ok(Probe::of(ingest_api::all().serve(Arc::new(app), Arc::new(edge))))
}

/// Sends a customer for the session under a key.
async fn send_customer(probe: &Probe, shop: &Shop, session: &Session, key: &str) -> Result<Answer> {
    let request = shop.request(Method::POST, &format!("{COMPREHENSIVE}?dataset=customers"));
    let request = request.header("content-type", "application/x-ndjson").header("idempotency-key", key);
    probe.answer(request.header("upload-token", &session.token).body(ndjson([customer(1)]))).await
}

pub(super) async fn what_the_bucket_does_not_take_is_given_up_and_sent_anew(ground: Arc<Ground>) -> Result<()> {
    let (shop, line) = (Shop::open(&ground).await?, Line::open(&ground).await?);
    let (probe, session) = (over(&ground, &line)?, shop.create(&json!({})).await?);
    line.fail(&["PUT"]);
    let failed = send_customer(&probe, &shop, &session, "one").await?;
    assert_eq!(failed.json(503)?["code"], "UNAVAILABLE");
    let status = shop.finished(&session).await?;
    assert_eq!(status["files"][0]["error"]["code"], "NEVER_ARRIVED", "{status:#}");
    line.fail(&[]);
    let taken = send_customer(&probe, &shop, &session, "one").await?;
    ensure!(taken.header("idempotent-replayed").is_none(), "{taken:?}");
    taken.json(201)?;
    let status = shop.finished(&session).await?;
    let ended: Vec<_> = status["files"].as_array().context("files")?.iter().map(|file| &file["state"]).collect();
    assert_eq!(ended, ["failed", "completed"], "{status:#}");
    assert_eq!(shop.books.rows().await?["customers"], 1);
    Ok(())
}

pub(super) async fn a_bucket_whose_answer_was_lost_has_the_file(ground: Arc<Ground>) -> Result<()> {
    let (shop, line) = (Shop::open(&ground).await?, Line::open(&ground).await?);
    let (probe, session) = (over(&ground, &line)?, shop.create(&json!({})).await?);
    line.lose(&["PUT"]);
    send_customer(&probe, &shop, &session, "one").await?.json(201)?;
    let status = shop.finished(&session).await?;
    assert_eq!(counts(&status), [1, 1, 0, 0, 0], "{status:#}");
    Ok(())
}

/// Of two requests with one key one does not reach the bucket, which has the file from the other.
pub(super) async fn of_two_with_one_key_none_is_answered_what_is_not_so(ground: Arc<Ground>) -> Result<()> {
    let (bad, good) = (Line::open(&ground).await?, Line::open(&ground).await?);
    let (stuck, probe) = (over(&ground, &bad)?, over(&ground, &good)?);
    for is_told in [true, false] {
        let shop = Shop::open(&ground).await?;
        let session = shop.create(&json!({})).await?;
        bad.hang(if is_told { &["PUT"] } else { &["PUT", "HEAD"] });
        let other = async {
            // until it is declared, or held by who is about to give it up
            let since = Instant::now();
            let (all, free) =
                ("select file_id::text from files", "select file_id::text from files for update skip locked");
            while shop.books.texts(all, &[]).await?.is_empty()
                || shop.books.texts(free, &[]).await?.is_empty() == is_told
            {
                ensure!(since.elapsed() < 3 * PATIENCE, "nobody declares it, or holds it");
                sleep(Duration::from_millis(20)).await;
            }
            if is_told {
                sleep(2 * SHORT).await;
            }
            send_customer(&probe, &shop, &session, "one").await
        };
        let (first, second) = tokio::join!(send_customer(&stuck, &shop, &session, "one"), other);
        let (first, second) = (first?, second?);
        let due = if is_told { 201 } else { 503 };
        assert_eq!((first.status, second.status), (due, due), "{first:?} {second:?}");
        if !is_told {
            send_customer(&probe, &shop, &session, "one").await?.json(201)?;
        }
        let status = shop.finished(&session).await?;
        let last = status["files"].as_array().and_then(|files| files.last()).context("a file")?;
        assert_eq!(last["state"], "completed", "{status:#}");
        assert_eq!(shop.books.rows().await?["customers"], 1);
    }
    Ok(())
}
