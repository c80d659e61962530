//! The door: keys, requests, answers.

use crate::support::{Answer, File, Ground, Shop, customer, ndjson};
use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

const SESSIONS: &str = "/api/v1/ingest/sessions";

/// A problem as RFC 9457 has it, with the text that the predecessor's clients read.
fn problem(answer: &Answer, status: u16, code: &str) -> Result<Value> {
    let problem = answer.json(status)?;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{answer:?}");
    assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{answer:?}");
    assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["error"].is_string());
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{answer:?}");
    assert!(problem["instance"].as_str().is_some_and(|path| path.starts_with('/')), "{answer:?}");
    Ok(problem)
}

pub(super) async fn only_a_key_opens_the_door(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[]).await?;
    let url = format!("{}{SESSIONS}/{}/status", ground.endpoints.api_url, session.token);
    let (key, hash) = (shop.key.as_str(), hex::encode(shop.key.hash()));
    let ask = async |headers: &[(&str, &str)]| {
        let request =
            headers.iter().fold(ground.http.get(&url), |request, (name, value)| request.header(*name, *value));
        Answer::to(request).await
    };
    for refused in [
        &[][..],
        &[("x-api-key", "")],
        &[("x-api-key", "itk_wrong")],
        &[("x-api-key", &hash)],
        &[("authorization", &format!("Bearer {hash}"))],
        &[("authorization", &format!("Basic {key}"))],
        &[("x-api-key", key), ("authorization", "Bearer other")],
    ] {
        problem(&ask(refused).await?, 401, "UNAUTHORIZED")?;
    }
    for (name, value) in [("x-api-key", key), ("X-API-Key", key), ("authorization", &format!("Bearer {key}"))] {
        ask(&[(name, value)]).await?.json(200)?;
    }
    Ok(())
}

pub(super) async fn a_request_that_is_wrong_is_told_where(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |name: &str, more: Value| {
        let mut file = json!({"name": name, "size_bytes": 1});
        file.as_object_mut().into_iter().for_each(|file| file.extend(more.as_object().cloned().unwrap_or_default()));
        json!({ "files": [file] })
    };
    for (body, pointer, code) in [
        (file("a.ndjson", json!({"dataset": "bananas"})), "/files/0/dataset", "UNKNOWN_DATASET"),
        (file("a.ndjson", json!({})), "/files/0/name", "NO_DATASET"),
        (file("orders.pdf", json!({})), "/files/0/name", "UNSUPPORTED_FORMAT"),
        (file("orders.ndjson", json!({"sha256": "abc"})), "/files/0/sha256", "INVALID_SHA256"),
        (file("orders.ndjson", json!({"size_bytes": 1_u64 << 50})), "/files/0/size_bytes", "FILE_TOO_LARGE"),
        (json!({"manifest": [1]}), "/manifest", "INVALID_MANIFEST"),
        (file("orders.csv", json!({"size_bytes": (20_u64 << 30) + 1})), "/files/0/size_bytes", "FILE_TOO_LARGE"),
        (file("orders.ndjson.gz", json!({"size_bytes": (20_u64 << 30) + 1})), "/files/0/size_bytes", "FILE_TOO_LARGE"),
        (json!({"on_error": "panic"}), "/on_error", "INVALID_ON_ERROR"),
        (json!({"max_rejects": -1}), "/max_rejects", "INVALID_MAX_REJECTS"),
        (json!({"max_rejects": 1.5}), "/max_rejects", "INVALID_MAX_REJECTS"),
        (json!({"max_rejects": "0.125%"}), "/max_rejects", "INVALID_MAX_REJECTS"),
        (json!({"max_rejects": 1, "on_error": "reject_file"}), "/max_rejects", "CONTRADICTORY_POLICY"),
        (json!({"max_rejects": 0, "on_error": "reject_rows"}), "/max_rejects", "CONTRADICTORY_POLICY"),
        (json!({"on_missing_reference": "maybe"}), "/on_missing_reference", "INVALID_ON_MISSING_REFERENCE"),
        (
            file("orders.ndjson", json!({"max_rejects": "5%", "on_error": "reject_file"})),
            "/files/0/max_rejects",
            "CONTRADICTORY_POLICY",
        ),
        (json!({"callback_url": "https://10.0.0.1/"}), "/callback_url", "INVALID_CALLBACK_URL"),
        (json!({"callback_url": "ftp://example.org/"}), "/callback_url", "INVALID_CALLBACK_URL"),
    ] {
        let problem = problem(&shop.post(SESSIONS, &body).await?, 422, "INVALID_REQUEST")?;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    for (body, pointer, code) in [
        (json!({"flies": []}), "/flies", "UNKNOWN_FIELD"),
        (file("orders.ndjson", json!({"color": "red"})), "/files/0/color", "UNKNOWN_FIELD"),
        (file("orders.ndjson", json!({"size_bytes": -1})), "/files/0/size_bytes", "INVALID_VALUE"),
        (json!({"files": [{"name": "orders.ndjson"}]}), "/files/0/size_bytes", "MISSING_FIELD"),
        (json!("no object"), "", "INVALID_VALUE"),
    ] {
        let problem = problem(&shop.post(SESSIONS, &body).await?, 422, "INVALID_REQUEST")?;
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert_eq!(problem["errors"][0]["code"], code, "{problem}");
    }
    let session = shop.declare(&[]).await?;
    for (query, code) in [("limit=0", "INVALID_LIMIT"), ("limit=x", "INVALID_VALUE"), ("cursor=x", "INVALID_CURSOR")] {
        let answer = shop.get(&format!("{SESSIONS}/{}/rejects?{query}", session.token)).await?;
        assert_eq!(problem(&answer, 400, "INVALID_QUERY")?["errors"][0]["code"], code, "{query}");
    }
    Ok(())
}

pub(super) async fn another_tenants_token_is_unknown(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let session = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    let own = stranger.declare(&[]).await?;
    let file = session.file_id(0);
    for (token, file) in [
        (session.token.as_str(), file),
        (&Uuid::new_v4().to_string(), file),
        ("not-a-token", file),
        ("%00", file),
        (own.token.as_str(), file),
    ] {
        let complete = stranger.post(&format!("{SESSIONS}/{token}/files/{file}/complete"), &json!({})).await?;
        problem(&complete, 404, "NOT_FOUND")?;
        if token != own.token {
            problem(&stranger.get(&format!("{SESSIONS}/{token}/status")).await?, 404, "NOT_FOUND")?;
            problem(&stranger.get(&format!("{SESSIONS}/{token}/rejects")).await?, 404, "NOT_FOUND")?;
            problem(&stranger.post(&format!("{SESSIONS}/{token}/resume"), &json!({})).await?, 404, "NOT_FOUND")?;
            problem(&stranger.post(&format!("{SESSIONS}/{token}/cancel"), &json!({})).await?, 404, "NOT_FOUND")?;
        }
    }
    assert_eq!(shop.status(&session).await?["state"], "awaiting_upload");
    Ok(())
}

pub(super) async fn a_path_is_the_same_with_a_trailing_slash(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", vec![b'\n'; crate::support::PART_BYTES + 1]);
    for slash in ["", "/"] {
        let body = json!({ "files": [file.declared()] });
        let created = shop.post(&format!("{SESSIONS}{slash}"), &body).await?.json(201)?;
        let (token, file) = (&created["upload_token"], &created["files"][0]["file_id"]);
        let path = format!("{SESSIONS}/{}", token.as_str().unwrap_or_default());
        assert_eq!(&shop.get(&format!("{path}/status{slash}")).await?.json(200)?["upload_token"], token);
        assert_eq!(shop.get(&format!("{path}/rejects{slash}?limit=5")).await?.status, 200);
        let complete = format!("{path}/files/{}/complete{slash}", file.as_str().unwrap_or_default());
        problem(&shop.post(&complete, &json!({})).await?, 409, "PARTS_MISSING")?;
        assert_eq!(shop.get(&format!("/health{slash}")).await?.json(200)?["status"], "healthy");
    }
    Ok(())
}

pub(super) async fn the_predecessors_body_makes_a_session(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let body = json!({"manifest": {"source": "nightly", "files": 3}});
    let created = shop.post(&format!("{SESSIONS}/"), &body).await?.json(201)?;
    assert_eq!(created["status"], "created");
    let is_uuid = |field: &str| created[field].as_str().is_some_and(|text| Uuid::try_parse(text).is_ok());
    assert!(is_uuid("upload_token") && is_uuid("upload_id"), "{created}");
    let token = created["upload_token"].as_str().unwrap_or_default();
    let status = shop.get(&format!("{SESSIONS}/{token}/status/")).await?.json(200)?;
    assert_eq!((&status["status"], &status["total_chunks"]), (&"pending".into(), &0.into()));
    for field in ["completed_chunks", "failed_chunks", "total_rows", "total_errors", "created_at", "last_activity"] {
        assert!(!status[field].is_null(), "{field}: {status}");
    }
    Ok(())
}

pub(super) async fn an_unknown_path_is_a_problem(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for (method, path) in [
        (Method::GET, "/nowhere"),
        (Method::GET, "/api/v1/ingest/"),
        (Method::POST, "/api/v1/ingest/sessions/x/y/z"),
        (Method::DELETE, "/nowhere/"),
    ] {
        problem(&Answer::to(shop.request(method, path)).await?, 404, "NOT_FOUND")?;
    }
    Ok(())
}

pub(super) async fn a_request_with_a_key_has_its_effect_once(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let post = async |shop: &Shop, key: &str, body: &Value| {
        let request = shop.request(Method::POST, SESSIONS).header("idempotency-key", key);
        Answer::to(request.json(body)).await
    };
    let body = json!({"files": [{"name": "customers.ndjson", "size_bytes": 10}]});
    let first = post(&shop, "one", &body).await?;
    assert_eq!((first.status, first.header("idempotent-replayed")), (201, None));
    let again = post(&shop, "one", &body).await?;
    assert_eq!((again.status, again.header("idempotent-replayed")), (201, Some("true")));
    assert_eq!(again.text, first.text);
    problem(&post(&shop, "one", &json!({"files": []})).await?, 422, "IDEMPOTENCY_KEY_REUSED")?;
    problem(&post(&shop, "", &body).await?, 400, "INVALID_IDEMPOTENCY_KEY")?;

    let independent = post(&other, "one", &json!({})).await?;
    assert_eq!((independent.status, independent.header("idempotent-replayed")), (201, None));
    // a refusal gives the key back
    problem(&post(&shop, "two", &json!({"flies": 1})).await?, 422, "INVALID_REQUEST")?;
    assert_eq!(post(&shop, "two", &body).await?.status, 201);
    let sessions = "select count(*)::text from upload_sessions";
    assert_eq!(shop.books.texts(sessions, &[]).await?, ["2"]);

    // of fifty at once each is told the one answer, or to wait for it
    let (many, text) = (Shop::open(&ground).await?, body.to_string());
    let crowd = (0..50).map(|_| {
        Answer::to(
            many.request(Method::POST, SESSIONS)
                .header("idempotency-key", "crowd")
                .header("content-type", "application/json")
                .body(text.clone()),
        )
    });
    let answers = futures_util::future::try_join_all(crowd).await?;
    let told: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!told.is_empty() && told.iter().all(|answer| answer.text == told[0].text));
    for waits in answers.iter().filter(|answer| answer.status != 201) {
        problem(waits, 409, "IDEMPOTENCY_KEY_IN_USE")?;
        assert!(waits.header("retry-after").is_some());
    }
    assert_eq!(many.books.texts(sessions, &[]).await?, ["1"]);
    Ok(())
}
