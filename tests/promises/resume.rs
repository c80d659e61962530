//! A session that stopped goes on.

use crate::support::{Answer, File, Ground, PART_BYTES, Session, Shop, counts, customer, file_named, ndjson};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

/// A file of three parts and some.
fn large() -> File {
    let file = File::new("customers.ndjson", ndjson((0..2_000).map(customer)));
    assert!(file.bytes.len() > 3 * PART_BYTES);
    file
}

fn path(session: &Session) -> String {
    format!("/api/v1/ingest/sessions/{}/resume", session.token)
}

async fn resume(shop: &Shop, session: &Session, body: &Value) -> Result<Value> {
    let resumed = shop.post(&path(session), body).await?.json(200)?;
    assert_eq!((&resumed["upload_token"], &resumed["status"]), (&session.token.as_str().into(), &"queued".into()));
    Ok(resumed)
}

/// Sends the parts that an answer asks for.
async fn send_parts(shop: &Shop, upload: &Value, bytes: &[u8]) -> Result<Vec<u64>> {
    let mut sent = Vec::new();
    for part in upload["parts"].as_array().context("parts")? {
        let number = part["part_number"].as_u64().context("a number")?;
        let bytes = bytes.chunks(PART_BYTES).nth(number as usize - 1).context("a part of the file")?;
        assert_eq!(part["size_bytes"], bytes.len());
        assert_eq!(shop.put_to(part, bytes).await?.status, 200);
        sent.push(number);
    }
    Ok(sent)
}

pub(super) async fn only_missing_parts_are_asked_for(ground: Arc<Ground>) -> Result<()> {
    let (shop, file) = (Shop::open(&ground).await?, large());
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    let all = file.bytes.chunks(PART_BYTES).count() as u64;
    let second = &session.files[0]["upload"]["parts"][1];
    assert_eq!(shop.put_to(second, &file.bytes[PART_BYTES..2 * PART_BYTES]).await?.status, 200);

    for _ in 0..2 {
        let resumed = resume(&shop, &session, &json!({})).await?;
        let found = &resumed["files"][0];
        assert_eq!((&found["state"], &found["arrived_bytes"]), (&"awaiting_upload".into(), &PART_BYTES.into()));
        let upload = &found["upload"];
        assert_eq!((&upload["kind"], &upload["arrived_parts"]), (&"multipart".into(), &json!([2])));
        assert_eq!(upload["parts"].as_array().map(Vec::len), Some(all as usize - 1));
        assert_eq!(upload["complete_path"], session.files[0]["upload"]["complete_path"]);
    }
    let upload = resume(&shop, &session, &Value::Null).await?["files"][0]["upload"].clone();
    let sent = send_parts(&shop, &upload, &file.bytes).await?;
    assert_eq!(sent, (1..=all).filter(|number| *number != 2).collect::<Vec<_>>());

    // nothing is missing: it is put together
    let resumed = resume(&shop, &session, &json!({})).await?;
    let found = &resumed["files"][0];
    assert_eq!((&found["arrived_bytes"], &found["upload"]), (&file.bytes.len().into(), &Value::Null));
    shop.complete(&session.files[0]).await?.json(200)?;
    assert_eq!(counts(&shop.finished(&session).await?), [2_000, 2_000, 0, 0, 0]);
    let resumed = resume(&shop, &session, &json!({})).await?;
    assert_eq!((&resumed["chunks_queued"], &resumed["files"][0]["state"]), (&0.into(), &"completed".into()));
    assert_eq!(counts(&shop.finished(&session).await?), [2_000, 2_000, 0, 0, 0]);
    Ok(())
}

pub(super) async fn an_upload_that_is_gone_begins_again(ground: Arc<Ground>) -> Result<()> {
    let (shop, file) = (Shop::open(&ground).await?, large());
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    assert_eq!(shop.put_to(&session.files[0]["upload"]["parts"][0], &file.bytes[..PART_BYTES]).await?.status, 200);
    let key = format!("tenants/{}/sessions/{}/{}", shop.id, session.id, session.file_id(0));
    let uploads = "select multipart_upload_id from files where file_id = $1";
    let id = shop.books.texts(uploads, &[&session.file_id(0)]).await?.remove(0);
    ground.s3.abort_multipart_upload().bucket(&ground.endpoints.bucket).key(key).upload_id(&id).send().await?;

    let resumed = resume(&shop, &session, &json!({})).await?;
    let upload = &resumed["files"][0]["upload"];
    assert_eq!((&upload["arrived_parts"], &resumed["files"][0]["arrived_bytes"]), (&json!([]), &0.into()));
    assert_ne!(shop.books.texts(uploads, &[&session.file_id(0)]).await?, [id]);
    send_parts(&shop, upload, &file.bytes).await?;
    shop.complete(&session.files[0]).await?.json(200)?;
    assert_eq!(counts(&shop.finished(&session).await?), [2_000, 2_000, 0, 0, 0]);
    Ok(())
}

pub(super) async fn a_file_of_one_put_gets_a_fresh_url(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [1, 2].map(|number| File::new(format!("customers_{number}.ndjson"), ndjson([customer(number)])));
    let session = shop.declare(&files).await?;
    shop.put(&session.files[1], &files[1].bytes).await?;
    ground.drained().await?;
    let resumed = resume(&shop, &session, &json!({})).await?;
    assert!(file_named(&resumed, "customers_2.ndjson")["upload"].is_null(), "it has arrived: {resumed}");
    let found = file_named(&resumed, "customers_1.ndjson");
    assert_eq!((&found["upload"]["kind"], &found["arrived_bytes"]), (&"put".into(), &0.into()));
    assert_eq!(shop.put_to(&found["upload"], &files[0].bytes).await?.status, 200);
    assert_eq!(counts(&shop.finished(&session).await?), [2, 2, 0, 0, 0]);
    Ok(())
}

pub(super) async fn a_lost_event_is_made_up_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", ndjson((0..100).map(customer)));
    let body = json!({"files": [file.declared()], "dry_run": true});
    let session = shop.create(&body).await?;
    shop.upload(&session, std::slice::from_ref(&file)).await?;
    let status = shop.finished(&session).await?;
    // as if the event had never come, and as if the work after it had got lost
    for (state, times) in [
        ("awaiting_upload", "uploaded_at = null, object_etag = null, planned_at = null, staged_at = null"),
        ("uploaded", "planned_at = null, staged_at = null"),
    ] {
        shop.books.execute("delete from chunks", &[]).await?;
        let undo = format!("update files set state = '{state}', finished_at = null, {times}");
        assert_eq!(shop.books.execute(&undo, &[]).await?, 1);
        let resumed = resume(&shop, &session, &json!({})).await?;
        assert_eq!(resumed["files"][0]["state"], state);
        assert_eq!(resumed["files"][0]["arrived_bytes"], file.bytes.len());
        assert_eq!(counts(&shop.finished(&session).await?), counts(&status), "{state}");
    }
    Ok(())
}

pub(super) async fn failed_chunks_are_tried_again(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", ndjson((0..100).map(customer)));
    // nothing of a dry run is promoted, so undoing part of it leaves the books right
    let session = shop.create(&json!({"files": [file.declared()], "dry_run": true})).await?;
    shop.upload(&session, std::slice::from_ref(&file)).await?;
    let before = shop.finished(&session).await?;
    assert!(before["total_chunks"].as_u64() > Some(4), "{before}");
    let give_up = async |code: &str| {
        let chunks =
            "update chunks set state = 'failed', error_code = $1, error_detail = 'why', lines = 0, accepted = 0,
            rejected = 0, inserted = 0, updated = 0, unchanged = 0 where chunk_index in (1, 3)";
        assert_eq!(shop.books.execute(chunks, &[&code]).await?, 2);
        let file = "update files set state = 'failed', error_code = $1, error_detail = 'why', staged_at = null";
        assert_eq!(shop.books.execute(file, &[&code]).await?, 1);
        anyhow::Ok(())
    };
    give_up("LOADING_FAILED").await?;
    let status = shop.status(&session).await?;
    let failed = &status["files"][0];
    assert_eq!(failed["error"], json!({"code": "LOADING_FAILED", "detail": "why", "resumable": true}));
    let chunk = |index| json!({"chunk_index": index, "code": "LOADING_FAILED", "detail": "why"});
    assert_eq!(failed["failed_chunks"], json!([chunk(1), chunk(3)]));
    assert_eq!((&status["state"], &status["failed_chunks"]), (&"failed".into(), &2.into()));

    // one of the two is not enough
    let resumed = resume(&shop, &session, &json!({"chunk_indices": [1, 2, 999_999]})).await?;
    assert_eq!((&resumed["chunks_queued"], &resumed["files"][0]["state"]), (&1.into(), &"loading".into()));
    let status = shop.ended(&session).await?;
    assert_eq!((&status["state"], &status["files"][0]["failed_chunks"]), (&"failed".into(), &json!([chunk(3)])));
    let untouched = resume(&shop, &session, &json!({"chunk_indices": [0]})).await?;
    assert_eq!((&untouched["chunks_queued"], &untouched["files"][0]["state"]), (&0.into(), &"failed".into()));

    let one = json!({"file_id": session.file_id(0)});
    assert_eq!(resume(&shop, &session, &one).await?["chunks_queued"], 1);
    resume(&shop, &session, &one).await?;
    let status = shop.finished(&session).await?;
    assert_eq!((counts(&status), &status["state"]), (counts(&before), &"completed".into()));
    assert!(status["files"][0]["error"].is_null() && status["files"][0]["failed_chunks"] == json!([]));

    give_up("OBJECT_REPLACED").await?;
    let resumed = resume(&shop, &session, &json!({})).await?;
    assert_eq!((&resumed["chunks_queued"], &resumed["files"][0]["state"]), (&0.into(), &"failed".into()));
    assert_eq!(shop.status(&session).await?["files"][0]["error"]["resumable"], false);
    Ok(())
}

pub(super) async fn what_is_over_is_not_resumed(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let session = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    let code = |answer: Answer, status| Ok::<_, anyhow::Error>(answer.json(status)?["code"].clone());
    assert_eq!(code(stranger.post(&path(&session), &json!({})).await?, 404)?, "NOT_FOUND");
    let other = json!({"file_id": Uuid::new_v4()});
    assert_eq!(code(shop.post(&path(&session), &other).await?, 404)?, "NOT_FOUND");
    for body in [json!({"chunks": []}), json!({"chunk_indices": [-1]}), json!("all")] {
        assert_eq!(code(shop.post(&path(&session), &body).await?, 422)?, "INVALID_REQUEST", "{body}");
    }
    shop.books.execute("update upload_sessions set expires_at = now() - interval '1 second'", &[]).await?;
    assert_eq!(code(shop.post(&path(&session), &json!({})).await?, 410)?, "EXPIRED");
    shop.books.execute("update upload_sessions set expires_at = now() + interval '1 day'", &[]).await?;
    shop.books.execute("update upload_sessions set cancelled_at = now()", &[]).await?;
    assert_eq!(code(shop.post(&path(&session), &json!({})).await?, 410)?, "CANCELLED");
    Ok(())
}
