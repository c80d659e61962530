//! What is declared and never comes.

use crate::support::{File, Ground, PART_BYTES, Shop, counts, customer, event, file_named, ndjson, order};
use anyhow::{Result, ensure};
use std::sync::Arc;

pub(super) async fn a_file_that_never_arrives_holds_nothing_up(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let customers = File::new("customers.ndjson", ndjson([customer(1)]));
    let orders = File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31"))));
    let abandoned = shop.declare(std::slice::from_ref(&customers)).await?;
    let session = shop.declare(&[customers, orders.clone()]).await?;
    shop.put(&session.files[1], &orders.bytes).await?;
    ground.drained().await?;

    let status = shop.status(&session).await?;
    assert_eq!(file_named(&status, "customers.ndjson")["state"], "awaiting_upload");
    assert_eq!(file_named(&status, "orders.ndjson")["state"], "promoting", "it waits for its turn");
    assert_eq!(counts(&status)[1], 0);
    assert_eq!(shop.status(&abandoned).await?["state"], "awaiting_upload");

    ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    assert_eq!(shop.status(&session).await?["state"], status["state"], "seven days are not over");
    assert_eq!(
        shop.books.execute("update upload_sessions set expires_at = now() - interval '1 second'", &[]).await?,
        2
    );
    // it has waited for its turn for days, in which nothing of it was done
    for sql in [
        "update files set uploaded_at = uploaded_at - interval '6 days', planned_at = planned_at - interval '6 days',
            staged_at = staged_at - interval '6 days'",
        "update chunks set changed_at = changed_at - interval '6 days'",
    ] {
        ensure!(shop.books.execute(sql, &[]).await? > 0, "{sql}");
    }
    ground.invoke("Maintain", &event("maintain.hourly")?).await?;

    let status = shop.finished(&session).await?;
    assert_eq!(file_named(&status, "customers.ndjson")["state"], "expired");
    assert_eq!(file_named(&status, "customers.ndjson")["error"]["code"], "NEVER_ARRIVED");
    assert_eq!(file_named(&status, "orders.ndjson")["state"], "completed");
    assert_eq!(counts(&status), [60, 60, 0, 0, 0]);
    assert_eq!((&status["state"], &status["status"]), (&"failed".into(), &"failed".into()));
    assert_eq!(shop.finished(&abandoned).await?["state"], "expired");
    Ok(())
}

pub(super) async fn parts_of_a_file_that_never_became_whole_are_dropped(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", vec![b'\n'; 2 * PART_BYTES]);
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    let first = &session.files[0]["upload"]["parts"][0];
    assert_eq!(shop.put_to(first, &file.bytes[..PART_BYTES]).await?.status, 200);
    let uploads = async || {
        let list = ground.s3.list_multipart_uploads().bucket(&ground.endpoints.bucket).send().await?;
        let keys = list.uploads().iter().filter_map(|upload| upload.key()).map(str::to_owned);
        anyhow::Ok(keys.filter(|key| key.contains(&session.file_id(0).to_string())).count())
    };
    assert_eq!(uploads().await?, 1);
    shop.books.execute("update upload_sessions set expires_at = now() - interval '1 second'", &[]).await?;
    ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    assert_eq!(uploads().await?, 0);
    assert_eq!(shop.status(&session).await?["state"], "expired");
    Ok(())
}
