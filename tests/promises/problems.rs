//! What goes wrong with a request is told in one form, and nothing else is.

use crate::support::{Answer, Ground, Probe, Shop};
use anyhow::{Context, Result, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// More than a function takes.
const TOO_LARGE: usize = 7 << 20;

/// The document of a problem of that status and code, which must have all that every problem has.
fn problem(answer: &Answer, path: &str, status: u16, code: &str) -> Result<Value> {
    let problem = answer.json(status)?;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{answer:?}");
    assert_eq!(problem["instance"], path, "{answer:?}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
    assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{answer:?}");
    assert_eq!(problem["error"], problem["detail"], "{answer:?}");
    assert!(problem["title"].is_string() && problem["type"].is_string(), "{answer:?}");
    Ok(problem)
}

pub(super) async fn a_panic_is_a_problem_that_is_logged(ground: Arc<Ground>) -> Result<()> {
    let (shop, probe, log) = (Shop::open(&ground).await?, Probe::start(&ground).await?, Log::default());
    // While there is one dispatcher alone, tracing asks that of the thread which first comes by an event whether anybody
    // wants it, for good: a panic in another test, where none is, would keep this one's from being written.
    let _second = Dispatch::new(NoSubscriber::new());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    let answer = probe.answer(shop.request(Method::GET, "/panic")).with_subscriber(subscriber).await?;
    let problem = problem(&answer, "/panic", 500, "INTERNAL")?;
    ensure!(!answer.text.contains("asked to"), "what the panic said is nobody's business: {answer:?}");
    let (log, id) = (log.text(), problem["request_id"].as_str().context("an id")?.to_owned());
    let logged = log.lines().any(|line| line.contains("ERROR") && line.contains("panicked") && line.contains(&id));
    assert!(logged, "{log}");
    assert_eq!(probe.answer(shop.request(Method::GET, "/open")).await?.json(200)?, json!({"open": true}));
    Ok(())
}

pub(super) async fn a_wrong_field_is_pointed_at(ground: Arc<Ground>) -> Result<()> {
    let (shop, probe) = (Shop::open(&ground).await?, Probe::start(&ground).await?);
    let path = format!("/api/v1/tenants/{}/echo", shop.id);
    for (body, pointer, code) in [
        (json!({"text": "a", "colour": "red"}), "/colour", "UNKNOWN_FIELD"),
        (json!({"text": "a", "a/b~c": 1}), "/a~1b~0c", "UNKNOWN_FIELD"),
        (json!({"numbers": [1]}), "/text", "MISSING_FIELD"),
        (json!({"text": 7}), "/text", "INVALID_VALUE"),
        (json!({"text": "a", "numbers": [1, 256]}), "/numbers/1", "INVALID_VALUE"),
        (json!("a"), "", "INVALID_VALUE"),
    ] {
        let answer = probe.answer(shop.request(Method::POST, &path).json(&body)).await?;
        let problem = problem(&answer, &path, 422, "INVALID_REQUEST")?;
        assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1), "{problem}");
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&pointer.into(), &code.into()), "{problem}");
        assert!(error["detail"].is_string(), "{problem}");
    }
    Ok(())
}

pub(super) async fn every_refusal_is_a_problem(ground: Arc<Ground>) -> Result<()> {
    let (shop, probe) = (Shop::open(&ground).await?, Probe::start(&ground).await?);
    let of = |route: &str| format!("/api/v1/tenants/{}/{route}", shop.id);
    let json =
        |request: RequestBuilder, body: &str| request.header("content-type", "application/json").body(body.to_owned());
    let post = |route: &str| shop.request(Method::POST, &of(route));
    let deep = format!("{{\"text\": \"a\", \"any\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let nobody = ground.http.get(format!("{}{}", ground.endpoints.api_url, of("level")));
    let (level, note) = (shop.request(Method::PUT, &of("level")), shop.request(Method::PUT, &of("note")));
    for (request, path, status, code) in [
        (json(post("echo"), "{"), of("echo"), 400, "INVALID_BODY"),
        (json(post("echo"), ""), of("echo"), 400, "INVALID_BODY"),
        (json(post("echo"), "{\"text\": \"a\"} {}"), of("echo"), 400, "INVALID_BODY"),
        (json(post("echo"), &deep), of("echo"), 400, "INVALID_BODY"),
        (
            post("echo").header("content-type", "application/json").body(&b"{\"text\": \"\xFF\"}"[..]),
            of("echo"),
            400,
            "INVALID_BODY",
        ),
        (json(post("echo"), &" ".repeat(TOO_LARGE)), of("echo"), 413, "PAYLOAD_TOO_LARGE"),
        (json(level.header("idempotency-key", "large"), &" ".repeat(TOO_LARGE)), of("level"), 413, "PAYLOAD_TOO_LARGE"),
        (post("echo").header("content-type", "text/plain").body("{}"), of("echo"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (note, of("note"), 400, "IDEMPOTENCY_KEY_REQUIRED"),
        (nobody, of("level"), 401, "UNAUTHORIZED"),
        (shop.request(Method::GET, &of("nothing")), of("nothing"), 404, "NOT_FOUND"),
        (shop.request(Method::DELETE, &of("level")), of("level"), 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = probe.answer(request).await?;
        problem(&answer, &path, status, code)?;
        let allowed = (status == 405).then_some("GET,HEAD,PUT");
        assert_eq!(answer.header("allow"), allowed, "{answer:?}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{answer:?}");
    }
    Ok(())
}

pub(super) async fn a_head_is_a_get_without_its_body(ground: Arc<Ground>) -> Result<()> {
    let (shop, probe) = (Shop::open(&ground).await?, Probe::start(&ground).await?);
    let level = format!("/api/v1/tenants/{}/level", shop.id);
    for path in ["/open", &level, "/panic", "/nothing"] {
        let get = probe.answer(shop.request(Method::GET, path)).await?;
        let head = probe.answer(shop.request(Method::HEAD, path)).await?;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    Ok(())
}

/// What is logged, as it is written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
