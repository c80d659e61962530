//! What is declared and never comes.

use crate::support::{File, Ground, Shop, counts, customer, event, file_named, ndjson, order};
use anyhow::Result;
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
