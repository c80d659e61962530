//! The end of a session because somebody asked for it.

use crate::support::{File, Ground, PART_BYTES, Session, Shop, counts, customer, ndjson, order};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn cancel(shop: &Shop, session: &Session, status: u16) -> Result<Value> {
    shop.post(&format!("/api/v1/ingest/sessions/{}/cancel", session.token), &json!({})).await?.json(status)
}

pub(super) async fn a_session_that_waits_is_cancelled(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let large = File::new("customers.ndjson", ndjson((0..2_000).map(customer)));
    let small = File::new("orders.ndjson", ndjson([order(1, "2026-01-31")]));
    let session = shop.declare(&[large.clone(), small.clone()]).await?;
    assert_eq!(shop.put_to(&session.files[0]["upload"]["parts"][0], &large.bytes[..PART_BYTES]).await?.status, 200);
    assert_eq!(cancel(&stranger, &session, 404).await?["code"], "NOT_FOUND");

    for _ in 0..2 {
        let status = cancel(&shop, &session, 200).await?;
        assert_eq!((&status["state"], &status["status"]), (&"cancelled".into(), &"failed".into()));
        let states: Vec<_> = status["files"].as_array().context("files")?.iter().map(|file| &file["state"]).collect();
        assert_eq!(states, ["cancelled", "cancelled"]);
        assert_eq!(status, shop.status(&session).await?);
    }
    let part = shop.put_to(&session.files[0]["upload"]["parts"][1], &large.bytes[PART_BYTES..2 * PART_BYTES]).await?;
    assert_eq!(part.status, 404, "its parts are gone");
    assert_eq!(shop.complete(&session.files[0]).await?.json(410)?["code"], "CANCELLED");
    // what arrives all the same is left alone
    shop.put(&session.files[1], &small.bytes).await?;
    ground.drained().await?;
    let status = shop.finished(&session).await?;
    assert_eq!((&status["state"], counts(&status)), (&"cancelled".into(), [0; 5]));

    let empty = shop.declare(&[]).await?;
    assert_eq!(cancel(&shop, &empty, 200).await?["state"], "cancelled");
    Ok(())
}

pub(super) async fn a_session_that_has_ended_is_not_cancelled(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let (session, before) = shop.send(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    assert_eq!(cancel(&shop, &session, 409).await?["code"], "ALREADY_ENDED");
    let empty = shop.declare(&[]).await?;
    shop.books.execute("update upload_sessions set expires_at = now() - interval '1 second'", &[]).await?;
    assert_eq!(cancel(&shop, &empty, 409).await?["code"], "ALREADY_ENDED");
    assert_eq!(shop.status(&session).await?["state"], before["state"]);
    Ok(())
}

pub(super) async fn a_slice_in_promotion_is_waited_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = ["customers_1.ndjson", "customers_2.ndjson"].map(|name| File::new(name, ndjson([customer(1)])));
    let session = shop.declare(&files).await?;
    // as who promotes a slice holds its file
    let mut client = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let slice = client.transaction().await?;
    slice.batch_execute(&format!("set local app.tenant_id = '{}'", shop.id)).await?;
    let hold = "select from files where file_id = $1 for share";
    assert_eq!(slice.query(hold, &[&session.file_id(0)]).await?.len(), 1);

    let since = Instant::now();
    let status = cancel(&shop, &session, 202).await?;
    assert!((Duration::from_secs(9)..Duration::from_secs(15)).contains(&since.elapsed()), "{:?}", since.elapsed());
    let states: Vec<_> =
        status["files"].as_array().context("files")?.iter().filter_map(|file| file["state"].as_str()).collect();
    assert_eq!((status["state"].as_str(), states), (Some("cancelling"), vec!["cancelling", "cancelled"]));
    assert_eq!(status["status"], "processing");
    let rows = format!("/api/v1/ingest/sessions/{}/resume", session.token);
    assert_eq!(shop.post(&rows, &json!({})).await?.json(410)?["code"], "CANCELLED");

    slice.commit().await?;
    assert_eq!(cancel(&shop, &session, 200).await?["state"], "cancelled");
    Ok(())
}

pub(super) async fn every_row_of_a_cancelled_upload_is_accounted_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let customers = File::new("customers.ndjson", ndjson((0..1_500).map(customer)));
    let orders = File::new("orders.ndjson", ndjson((0..1_500).map(|number| order(number, "2026-01-31"))));
    for wait_ms in [0, 300, 1_000] {
        let session = shop.declare(&[customers.clone(), orders.clone()]).await?;
        shop.upload(&session, &[customers.clone(), orders.clone()]).await?;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        let answer = shop.post(&format!("/api/v1/ingest/sessions/{}/cancel", session.token), &json!({})).await?;
        assert!([200, 202, 409].contains(&answer.status), "{answer:?}");
        let is_cancelled = answer.status != 409;
        shop.ended(&session).await?;
        ground.drained().await?;
        let status = shop.ended(&session).await?;
        assert!(!is_cancelled || ["cancelled", "completed"].iter().any(|state| status["state"] == *state), "{status}");
        for file in status["files"].as_array().context("files")? {
            let rows = |name: &str| file["rows"][name].as_i64().unwrap_or(-1);
            let known = rows("promoted") + rows("rejected") + rows("discarded");
            assert_eq!((rows("accepted"), rows("staged")), (known, 0), "{file}");
        }
    }
    Ok(())
}
