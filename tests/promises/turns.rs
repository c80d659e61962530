//! Files of one session take their turns in the order of dependency.

use crate::support::{File, Ground, Shop, counts, customer, file_named, item, ndjson, order, product};
use anyhow::Result;
use std::sync::Arc;

pub(super) async fn parents_are_promoted_before_their_children(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [
        File::new("order_items.ndjson", ndjson((0..60).map(item))),
        File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31")))),
        File::new("products.ndjson", ndjson((0..60).map(product))),
        File::new("customers.ndjson", ndjson((0..60).map(customer))),
    ];
    let session = shop.declare(&files).await?;
    shop.upload(&session, &files[..3]).await?;
    ground.drained().await?;
    let waiting = shop.status(&session).await?;
    assert_eq!(waiting["state"], "loading");
    assert_eq!(counts(&waiting)[1], 0, "nothing overtakes the customers: {waiting:#}");
    shop.put(&session.files[3], &files[3].bytes).await?;

    let status = shop.finished(&session).await?;
    assert_eq!(status["state"], "completed");
    let ended = |dataset: &str| file_named(&status, &format!("{dataset}.ndjson"))["finished_at"].to_string();
    let order = ["customers", "products", "orders", "order_items"].map(ended);
    assert!(order.is_sorted(), "{order:?}");
    Ok(())
}
