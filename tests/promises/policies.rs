//! What becomes of a file with bad rows: as the upload asks, for a session and for a file.

use crate::support::{
    CHUNK_BYTES, File, Ground, Session, Shop, at, counts, customer, file_named, id, item, ndjson, order, product,
};
use anyhow::Result;
use intake_domain::reject::Code;
use serde_json::{Value, json};
use std::sync::Arc;

/// Declares files under a session's policy, each with its own where it has one, uploads them and waits for the end.
async fn send(shop: &Shop, policy: &Value, files: &[(File, Value)]) -> Result<(Session, Value)> {
    let with = |mut base: Value, more: &Value| {
        let more = more.as_object().cloned().unwrap_or_default();
        base.as_object_mut().into_iter().for_each(|base| base.extend(more.clone()));
        base
    };
    let declared: Vec<_> = files.iter().map(|(file, policy)| with(file.declared(), policy)).collect();
    let session = shop.create(&with(json!({"files": declared}), policy)).await?;
    shop.upload(&session, &files.iter().map(|(file, _)| file.clone()).collect::<Vec<_>>()).await?;
    let status = shop.ended(&session).await?;
    Ok((session, status))
}

/// 150 customers, some of them bad: by their own look, and by an e-mail that another has.
fn customers(invalid: u64, taken: u64) -> File {
    let rows = (0..150 - invalid - taken).map(customer);
    let bad = (0..invalid).map(|number| at(customer(1_000 + number), "name", 7));
    let twins = (0..taken).map(|number| at(customer(2_000 + number), "email", "c0@shop.example"));
    let file = File::new("customers.ndjson", ndjson(rows.chain(bad).chain(twins)));
    assert!(file.bytes.len() > 5 * CHUNK_BYTES);
    file
}

fn rejects_of(file: &Value) -> i64 {
    counts(file)[4]
}

pub(super) async fn nothing_of_a_file_with_too_many_rejects_is_promoted(ground: Arc<Ground>) -> Result<()> {
    for (policy, invalid, taken, goes_in) in [
        (json!({"on_error": "reject_file"}), 0, 0, true),
        (json!({"on_error": "reject_file"}), 1, 0, false),
        (json!({"on_error": "reject_file"}), 0, 1, false),
        (json!({"max_rejects": 4}), 2, 2, true),
        (json!({"max_rejects": 3}), 2, 2, false),
        (json!({"max_rejects": "2%"}), 1, 2, true),
        (json!({"max_rejects": "2%"}), 2, 2, false),
        (json!({"on_error": "reject_rows"}), 20, 20, true),
    ] {
        for dry_run in [false, true] {
            let shop = Shop::open(&ground).await?;
            let mut session_policy = policy.clone();
            session_policy["dry_run"] = dry_run.into();
            let (session, status) = send(&shop, &session_policy, &[(customers(invalid, taken), json!({}))]).await?;
            let (file, refused) = (&status["files"][0], (invalid + taken) as i64);
            let context = format!("{policy}, {invalid} and {taken}, dry run: {dry_run}: {file:#}");
            let stored = shop.books.rows().await?["customers"];
            if goes_in {
                assert_eq!(counts(file), [150, 150 - refused, 0, 0, refused], "{context}");
                assert_eq!(stored, if dry_run { 0 } else { 150 - refused }, "{context}");
            } else {
                assert_eq!((&file["state"], &file["error"]["code"]), (&"failed".into(), &"TOO_MANY_REJECTS".into()));
                assert_eq!(counts(file), [150, 0, 0, 0, refused], "{context}");
                assert_eq!(stored, 0, "{context}");
                assert_eq!(file["rows"]["discarded"], 150 - refused, "{context}");
            }
            let told = shop.rejects(&session, 100).await?;
            assert_eq!(told.len() as i64, refused, "all of them are told: {context}");
        }
    }
    Ok(())
}

pub(super) async fn a_files_policy_goes_before_its_sessions(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |name: &str, first: u64| {
        let rows = (first..first + 40).map(customer).chain([at(customer(first + 90), "name", 7)]);
        File::new(name, ndjson(rows))
    };
    let (_, status) = send(
        &shop,
        &json!({"max_rejects": 0}),
        &[
            (file("customers_strict.ndjson", 0), json!({})),
            (file("customers_lax.ndjson", 1_000), json!({"on_error": "reject_rows"})),
            (file("customers_some.ndjson", 2_000), json!({"max_rejects": "50%"})),
        ],
    )
    .await?;
    assert_eq!(status["state"], "failed");
    assert_eq!(file_named(&status, "customers_strict.ndjson")["error"]["code"], "TOO_MANY_REJECTS");
    assert_eq!(counts(file_named(&status, "customers_lax.ndjson")), [41, 40, 0, 0, 1]);
    assert_eq!(counts(file_named(&status, "customers_some.ndjson")), [41, 40, 0, 0, 1]);
    assert_eq!(shop.books.rows().await?["customers"], 80);
    Ok(())
}

pub(super) async fn missing_references_are_counted_or_refused(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let (_, status) = shop
        .send(&[
            File::new("customers.ndjson", ndjson((0..30).map(customer))),
            File::new("products.ndjson", ndjson((0..60).map(product))),
        ])
        .await?;
    assert_eq!(status["rows"]["dangling_references"], 0);
    let orders = || {
        let rows = (0..60).map(|number| at(order(number, "2026-01-31"), "customer_id", id(number).to_string()));
        // an order without a customer refers to nobody
        File::new("orders.ndjson", ndjson(rows.chain([order(99, "2026-01-31")])))
    };
    // both references of the last lead nowhere
    let items = || File::new("order_items.ndjson", ndjson((0..90).map(item)));

    let strict = json!({"on_missing_reference": "reject"});
    let (session, status) = send(&shop, &strict, &[(orders(), json!({})), (items(), json!({}))]).await?;
    assert_eq!(counts(file_named(&status, "orders.ndjson")), [61, 31, 0, 0, 30]);
    assert_eq!(counts(file_named(&status, "order_items.ndjson")), [90, 30, 0, 0, 60]);
    let rejects = shop.rejects(&session, 1_000).await?;
    assert!(rejects.iter().all(|reject| reject.errors.iter().all(|error| error.code == Code::MissingReference)));
    let of_item =
        rejects.last().map(|reject| reject.errors.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>());
    assert_eq!(of_item, Some(vec!["/order_id", "/product_id"]), "all errors of a row are told");
    let of_order = rejects.iter().find(|reject| reject.file == "orders.ndjson").map(|reject| &reject.errors[0]);
    assert!(of_order.is_some_and(|error| error.pointer == "/customer_id" && error.detail.contains("customers")));

    let (_, status) = send(&shop, &json!({}), &[(orders(), json!({})), (items(), json!({}))]).await?;
    assert_eq!(counts(file_named(&status, "orders.ndjson")), [61, 30, 0, 31, 0]);
    assert_eq!(file_named(&status, "orders.ndjson")["rows"]["dangling_references"], 30);
    // of 90 items 30 name an order that is not there, and 30 a product
    assert_eq!(file_named(&status, "order_items.ndjson")["rows"]["dangling_references"], 30 + 30);
    assert_eq!(rejects_of(&status), 0);
    Ok(())
}
