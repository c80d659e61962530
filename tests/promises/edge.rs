//! What lies between a client and the function that answers it.

use crate::support::{Answer, File, Ground, Shop, customer, ndjson};
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::try_join_all;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SESSIONS: &str = "/api/v1/ingest/sessions";

/// More than an event has room for, and more than a request may have.
const TOO_LARGE: [usize; 2] = [7 << 20, 11 << 20];

fn problem(answer: &Answer, status: u16, code: &str) -> Result<Value> {
    let problem = answer.json(status)?;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{answer:?}");
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["error"].is_string());
    Ok(problem)
}

pub(super) async fn thirty_at_once_are_all_answered(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[]).await?;
    let path = format!("{SESSIONS}/{}/status", session.token);
    let answers = try_join_all((0..30).map(|_| shop.get(&path))).await?;
    for answer in answers {
        assert_eq!(answer.json(200)?["upload_token"], session.token.as_str());
    }
    Ok(())
}

pub(super) async fn encoded_characters_stay_what_they_are(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[]).await?;
    let path = |token: &str| format!("{SESSIONS}/{token}/status");
    let letters: String = session.token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    assert_eq!(shop.get(&path(&letters)).await?.json(200)?["upload_token"], session.token.as_str());
    for token in ["a%2Fb", "%C3%A9", "%20", "%25", "a+b"] {
        problem(&shop.get(&path(token)).await?, 404, "NOT_FOUND")?;
    }
    let rejects = format!("{SESSIONS}/{}/rejects", session.token);
    let refused = problem(&shop.get(&format!("{rejects}?cursor=%C3%A9%26limit%3D1")).await?, 400, "INVALID_QUERY")?;
    assert_eq!(refused["errors"][0]["code"], "INVALID_CURSOR");
    Ok(())
}

pub(super) async fn a_head_has_no_body_and_a_preflight_needs_no_key(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[]).await?;
    let path = format!("{SESSIONS}/{}/status", session.token);
    let head = Answer::to(shop.request(Method::HEAD, &path)).await?;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    let url = format!("{}{path}", ground.endpoints.api_url);
    let preflight = Answer::to(ground.http.request(Method::OPTIONS, url)).await?;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
    Ok(())
}

pub(super) async fn a_body_that_is_too_large_is_a_problem(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for length in TOO_LARGE {
        let request = shop.request(Method::POST, SESSIONS).header("content-type", "application/json");
        let problem = problem(&Answer::to(request.body(vec![b' '; length])).await?, 413, "PAYLOAD_TOO_LARGE")?;
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(SESSIONS)), "{problem}");
    }
    shop.declare(&[]).await?;
    Ok(())
}

pub(super) async fn a_binary_body_arrives_byte_for_byte(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&ndjson((0..500).map(customer)))?;
    let packed = packed.finish()?;
    ensure!(std::str::from_utf8(&packed).is_err(), "bytes that text would not survive");
    let part = b"--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"customers.ndjson.gz\"\r\n\r\n";
    let form = [part.as_slice(), &packed, b"\r\n--edge--\r\n"].concat();
    let path = "/api/v1/ingest/comprehensive";
    let raw = format!("{path}?name=customers.ndjson.gz");
    for (key, path, content_type, body) in [
        ("form", path, "multipart/form-data; boundary=edge", form),
        ("raw", raw.as_str(), "application/x-ndjson", packed),
    ] {
        let request = shop.request(Method::POST, path).header("content-type", content_type);
        let taken = Answer::to(request.header("idempotency-key", key).body(body)).await?.json(201)?;
        assert_eq!(taken["rows_received"], 500, "{key}");
    }
    ground.drained().await
}

pub(super) async fn a_function_that_is_killed_in_a_request_is_replaced(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    let path = format!("{SESSIONS}/{}/status", session.token);
    let since = Instant::now();
    let waiting = Answer::to(shop.request(Method::GET, &path).header("prefer", "wait=20"));
    let kill = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let pids = ground.processes("ingest-api");
        ensure!(!pids.is_empty(), "nothing runs");
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            kill_process(pid, Signal::KILL).ok(); // it may have ended by itself
        }
        Ok(())
    };
    let (answer, killed) = tokio::join!(waiting, kill);
    killed.context("kill")?;
    problem(&answer?, 503, "UNAVAILABLE")?;
    ensure!(since.elapsed() < Duration::from_secs(10), "the answer came late");
    // idle ones were killed too, and the front learns of their end by itself
    tokio::time::sleep(Duration::from_millis(300)).await;
    for _ in 0..3 {
        assert_eq!(shop.get(&path).await?.json(200)?["state"], json!("awaiting_upload"));
    }
    Ok(())
}
