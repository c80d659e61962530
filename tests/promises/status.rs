//! What is told of sessions: one by one, and in the list.

use crate::support::{File, Ground, Shop, customer, file_named, lines, ndjson, order};
use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SESSIONS: &str = "/api/v1/ingest/sessions";

pub(super) async fn a_status_tells_all_that_is_known(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file =
        File::new("customers.ndjson", lines([customer(1).to_string(), "{}".to_owned(), customer(2).to_string()]));
    let mut declared = file.declared();
    declared["max_rejects"] = "50%".into();
    let session = shop
        .create(&json!({
            "files": [declared, {"name": "orders.ndjson", "size_bytes": 7, "on_error": "reject_file"}],
            "max_rejects": 7, "on_missing_reference": "reject",
        }))
        .await?;
    let before = shop.status(&session).await?;
    assert_eq!(before["policy"], json!({"max_rejects": 7, "on_missing_reference": "reject"}));
    assert_eq!((&before["rows_per_second"], &before["webhook"]), (&Value::Null, &Value::Null));
    assert_eq!(before["bytes"], json!({"total": file.bytes.len() + 7, "loaded": 0}));
    let strict = file_named(&before, "orders.ndjson");
    assert_eq!(strict["policy"], json!({"max_rejects": 0, "on_missing_reference": "reject"}));

    shop.put(&session.files[0], &file.bytes).await?;
    let status = loop {
        let status = shop.status(&session).await?;
        if !file_named(&status, "customers.ndjson")["finished_at"].is_null() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let file_status = file_named(&status, "customers.ndjson");
    assert_eq!(file_status["state"], "completed_with_errors", "{status:#}");
    assert_eq!(file_status["policy"], json!({"max_rejects": "50%", "on_missing_reference": "reject"}));
    assert_eq!(file_status["format"], json!({"layout": "ndjson", "compression": "none"}));
    assert_eq!(file_status["bytes"], json!({"total": file.bytes.len(), "loaded": file.bytes.len()}));
    assert_eq!((&file_status["failed_chunks"], &file_status["error"]), (&json!([]), &Value::Null));
    assert_eq!(
        file_status["rows"],
        json!({
            "accepted": 3, "promoted": 2, "inserted": 2, "updated": 0, "unchanged": 0, "rejected": 1,
            "staged": 0, "discarded": 0, "dangling_references": 0,
        })
    );
    assert_eq!(status["rows"], file_status["rows"]);
    assert!(file_status["rows_per_second"].as_f64() > Some(0.0) && status["rows_per_second"].as_f64() > Some(0.0));
    for time in ["uploaded_at", "planned_at", "staged_at", "finished_at"] {
        assert!(file_status["times"][time].is_string() && file_status["times"][time] == file_status[time], "{time}");
        assert!(status["times"][time].is_null(), "another file has not got so far");
    }
    assert_eq!(status["times"]["created_at"], status["created_at"]);
    Ok(())
}

pub(super) async fn a_wait_ends_with_the_session(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", ndjson([customer(1)]));
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    let path = format!("{SESSIONS}/{}/status", session.token);
    let ask = async |prefer: &str| {
        let since = Instant::now();
        let answer = crate::support::Answer::to(shop.request(Method::GET, &path).header("prefer", prefer)).await?;
        anyhow::Ok((answer.json(200)?, answer.header("preference-applied").map(str::to_owned), since.elapsed()))
    };
    let (status, applied, elapsed) = ask("respond-async, wait=1").await?;
    assert_eq!((&status["state"], applied.as_deref()), (&"awaiting_upload".into(), Some("wait=1")));
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&elapsed), "{elapsed:?}");
    for ignored in ["wait=0", "wait=x", "respond-async"] {
        let (_, applied, elapsed) = ask(ignored).await?;
        assert!(applied.is_none() && elapsed < Duration::from_secs(1), "{ignored}");
    }
    let (answered, put) = tokio::join!(ask("wait=600"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        shop.put(&session.files[0], &file.bytes).await
    });
    put?;
    let (status, applied, elapsed) = answered?;
    assert_eq!((&status["state"], applied.as_deref()), (&"completed".into(), Some("wait=20")), "{elapsed:?}");
    let (status, _, elapsed) = ask("wait=20").await?;
    assert!(status["state"] == "completed" && elapsed < Duration::from_secs(1), "it has ended: {elapsed:?}");
    Ok(())
}

pub(super) async fn sessions_are_listed_newest_first(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    other.declare(&[]).await?;
    let customers = File::new("customers.ndjson", lines([customer(1).to_string(), "{}".to_owned()]));
    let (done, status) = shop.send(&[customers, File::new("orders.ndjson", ndjson([order(1, "2026-01-31")]))]).await?;
    let mut tokens = vec![done.token.clone()];
    for _ in 0..4 {
        tokens.insert(0, shop.declare(&[]).await?.token);
    }
    let expired = shop.declare(&[]).await?;
    tokens.insert(0, expired.token.clone());
    let expire = "update upload_sessions set expires_at = now() - interval '1 second' where session_id = $1";
    shop.books.execute(expire, &[&expired.id]).await?;
    let cancelled = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    tokens.insert(0, cancelled.token.clone());
    shop.post(&format!("{SESSIONS}/{}/cancel", cancelled.token), &json!({})).await?.json(200)?;

    let list = async |query: &str| -> Result<Value> { shop.get(&format!("{SESSIONS}?{query}")).await?.json(200) };
    let found = |page: &Value| -> Vec<String> {
        let sessions = page["sessions"].as_array().into_iter().flatten();
        sessions.filter_map(|session| session["upload_token"].as_str().map(str::to_owned)).collect()
    };
    let all = list("").await?;
    assert_eq!((found(&all), &all["next_cursor"]), (tokens.clone(), &Value::Null));
    for limit in 1..=8 {
        let (mut paged, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = list(&format!("limit={limit}{cursor}")).await?;
            paged.extend(found(&page));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, tokens, "{limit} at a time");
    }
    let last = all["sessions"].as_array().and_then(|all| all.last()).context("a session")?;
    for field in [
        "upload_token",
        "upload_id",
        "status",
        "state",
        "dry_run",
        "created_at",
        "expires_at",
        "rows",
        "total_chunks",
        "completed_chunks",
        "failed_chunks",
        "total_rows",
        "total_errors",
    ] {
        assert_eq!(last[field], status[field], "{field}");
    }
    assert_eq!((&last["files"], &last["size_bytes"]), (&2.into(), &status["bytes"]["total"]));
    assert!(last["last_activity"].as_str() >= status["last_activity"].as_str());

    let mut by_state = BTreeMap::new();
    for state in [
        "awaiting_upload",
        "loading",
        "promoting",
        "completed",
        "completed_with_errors",
        "failed",
        "expired",
        "cancelling",
        "cancelled",
    ] {
        let page = list(&format!("state={state}&limit=200")).await?;
        assert!(page["sessions"].as_array().into_iter().flatten().all(|session| session["state"] == state));
        by_state.insert(state, found(&page).len());
    }
    by_state.retain(|_, count| *count > 0);
    let expected = [("awaiting_upload", 4), ("cancelled", 1), ("completed_with_errors", 1), ("expired", 1)];
    assert_eq!(by_state, BTreeMap::from(expected));
    let paged = list("state=awaiting_upload&limit=3").await?;
    let cursor = paged["next_cursor"].as_str().context("there is one more")?;
    let rest = list(&format!("state=awaiting_upload&limit=3&cursor={cursor}")).await?;
    assert_eq!((found(&paged).len(), found(&rest).len(), &rest["next_cursor"]), (3, 1, &Value::Null));

    for (query, code) in [
        ("limit=0", "INVALID_LIMIT"),
        ("limit=201", "INVALID_LIMIT"),
        ("limit=x", "INVALID_VALUE"),
        ("cursor=x", "INVALID_CURSOR"),
        ("state=done", "INVALID_STATE"),
        ("state=uploaded", "INVALID_STATE"),
    ] {
        let refused = shop.get(&format!("{SESSIONS}?{query}")).await?.json(400)?;
        assert_eq!(
            (&refused["code"], &refused["errors"][0]["code"]),
            (&"INVALID_QUERY".into(), &code.into()),
            "{query}"
        );
    }
    Ok(())
}
