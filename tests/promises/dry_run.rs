//! A dry run says what a real one would do, and does nothing.

use crate::support::{File, Ground, Shop, at, counts, customer, ndjson, order};
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn a_dry_run_counts_what_a_real_run_does(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let (_, before) = shop.send(&[File::new("customers.ndjson", ndjson((0..10).map(customer)))]).await?;
    assert_eq!(counts(&before), [10, 10, 0, 0, 0]);
    let stored = shop.books.rows().await?;

    let first =
        (0..60).map(customer).chain([at(customer(70), "email", "c5@shop.example"), at(customer(71), "name", 7)]);
    let second = [customer(59), at(customer(58), "name", "changed"), at(customer(72), "email", "c20@shop.example")];
    let orders = (0..60).map(|number| order(number % 50, "2026-03-01"));
    let files = [
        File::new("orders.ndjson", ndjson(orders)),
        File::new("customers_1.ndjson", ndjson(first)),
        File::new("customers_2.ndjson", ndjson(second)),
    ];
    let session =
        shop.create(&json!({"dry_run": true, "files": files.iter().map(File::declared).collect::<Vec<_>>()})).await?;
    shop.upload(&session, &files).await?;
    let dry = shop.finished(&session).await?;
    assert_eq!(dry["dry_run"], true);
    assert_eq!(shop.books.rows().await?, stored, "a dry run stores nothing");

    let (real_session, real) = shop.send(&files).await?;
    let of_files = |status: &Value| {
        let files = status["files"].as_array().into_iter().flatten();
        files.map(|file| (file["name"].to_string(), file["state"].to_string(), counts(file))).collect::<Vec<_>>()
    };
    assert_eq!(of_files(&dry), of_files(&real));
    assert_eq!(counts(&real), [125, 100, 1, 21, 3]);
    let told = async |session| {
        let rejects = shop.rejects(session, 100).await?;
        anyhow::Ok(rejects.into_iter().map(|r| format!("{r:?}")).collect::<Vec<_>>())
    };
    assert_eq!(told(&session).await?, told(&real_session).await?);
    Ok(())
}
