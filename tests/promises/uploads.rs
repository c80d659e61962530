//! From a client to the bucket, and what the bucket must not let through.

use crate::support::{File, Ground, PART_BYTES, Session, Shop, at, counts, customer, file_named, ndjson, product};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A file of three parts and some.
fn large() -> File {
    let file = File::new("customers.ndjson", ndjson((0..2_000).map(customer)));
    assert!(file.bytes.len() > 3 * PART_BYTES);
    file
}

fn parts<'a>(session: &'a Session, file: &'a File) -> Result<Vec<(&'a Value, &'a [u8])>> {
    let parts = session.files[0]["upload"]["parts"].as_array().context("parts")?;
    assert_eq!(parts.len(), file.bytes.len().div_ceil(PART_BYTES));
    Ok(parts.iter().zip(file.bytes.chunks(PART_BYTES)).collect())
}

pub(super) async fn parts_may_come_in_any_order(ground: Arc<Ground>) -> Result<()> {
    let file = large();
    for at_once in [false, true] {
        let shop = Shop::open(&ground).await?;
        let session = shop.declare(std::slice::from_ref(&file)).await?;
        let mut parts = parts(&session, &file)?;
        parts.reverse();
        if at_once {
            let sent = try_join_all(parts.iter().map(|(part, bytes)| shop.put_to(part, bytes))).await?;
            assert!(sent.iter().all(|answer| answer.status == 200));
        } else {
            for (part, bytes) in parts {
                assert_eq!(shop.put_to(part, bytes).await?.status, 200);
            }
        }
        for _ in 0..2 {
            shop.complete(&session.files[0]).await?.json(200)?;
        }
        let status = shop.finished(&session).await?;
        assert_eq!(counts(&status), [2_000, 2_000, 0, 0, 0]);
        shop.complete(&session.files[0]).await?.json(200)?;
        assert_eq!(shop.finished(&session).await?, status);
    }
    Ok(())
}

pub(super) async fn a_missing_part_is_asked_for(ground: Arc<Ground>) -> Result<()> {
    let (shop, file) = (Shop::open(&ground).await?, large());
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    let parts = parts(&session, &file)?;
    let missing = 1;
    for (at, (part, bytes)) in parts.iter().enumerate() {
        let refused = shop.complete(&session.files[0]).await?.json(409)?;
        assert_eq!(refused["code"], "PARTS_MISSING");
        if at != missing {
            assert_eq!(shop.put_to(part, bytes).await?.status, 200);
        }
    }
    assert_eq!(shop.complete(&session.files[0]).await?.json(409)?["code"], "PARTS_MISSING");
    let (part, bytes) = parts[missing];
    assert_eq!(shop.put_to(part, bytes).await?.status, 200);
    shop.complete(&session.files[0]).await?.json(200)?;
    assert_eq!(counts(&shop.finished(&session).await?), [2_000, 2_000, 0, 0, 0]);
    Ok(())
}

fn key(shop: &Shop, session: &Session, at: usize) -> String {
    format!("tenants/{}/sessions/{}/{}", shop.id, session.id, session.file_id(at))
}

pub(super) async fn a_put_of_another_length_is_refused(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", ndjson([customer(1)]));
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    for bytes in [&b""[..], &file.bytes[1..], &[&file.bytes[..], b"\n"].concat()] {
        assert_eq!(shop.put_to(&session.files[0]["upload"], bytes).await?.status, 403);
    }
    let object = ground.s3.head_object().bucket(&ground.endpoints.bucket).key(key(&shop, &session, 0)).send().await;
    assert!(object.is_err_and(|error| error.into_service_error().is_not_found()));
    assert_eq!(shop.status(&session).await?["state"], "awaiting_upload");
    shop.upload(&session, &[file]).await?;
    assert_eq!(counts(&shop.finished(&session).await?), [1, 1, 0, 0, 0]);
    Ok(())
}

/// Puts an object past the presigned URL.
async fn put_object(ground: &Ground, key: String, bytes: &[u8]) -> Result<()> {
    let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(key);
    put.body(bytes.to_vec().into()).send().await.map(drop).context("PutObject")
}

pub(super) async fn an_object_of_another_size_fails_alone(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |name: &str, number: u64| File::new(format!("customers_{name}.ndjson"), ndjson([customer(number)]));
    let files = [file("smaller", 1), file("larger", 2), file("right", 3)];
    let session = shop.declare(&files).await?;
    put_object(&ground, key(&shop, &session, 0), &files[0].bytes[1..]).await?;
    put_object(&ground, key(&shop, &session, 1), &[&files[1].bytes[..], b"\n"].concat()).await?;
    shop.put(&session.files[2], &files[2].bytes).await?;
    let status = shop.finished(&session).await?;
    for name in ["customers_smaller.ndjson", "customers_larger.ndjson"] {
        assert_eq!(file_named(&status, name)["state"], "failed");
        assert_eq!(file_named(&status, name)["error"]["code"], "SIZE_MISMATCH");
    }
    assert_eq!(file_named(&status, "customers_right.ndjson")["state"], "completed");
    assert_eq!((&status["state"], counts(&status)), (&"failed".into(), [1, 1, 0, 0, 0]));
    Ok(())
}

pub(super) async fn a_replaced_object_is_never_mixed_in(ground: Arc<Ground>) -> Result<()> {
    let version = |name: &str| File::new("products.ndjson", ndjson((0..1_500).map(|n| at(product(n), "name", name))));
    let (first, second) = (version("first!"), version("second"));
    assert_eq!(first.bytes.len(), second.bytes.len());
    let sets = "select distinct name::text from products";

    // after its end
    let shop = Shop::open(&ground).await?;
    let (session, status) = shop.send(std::slice::from_ref(&first)).await?;
    put_object(&ground, key(&shop, &session, 0), &second.bytes).await?;
    ground.drained().await?;
    assert_eq!(shop.finished(&session).await?, status);
    assert_eq!(shop.books.texts(sets, &[]).await?, ["first!"]);

    // on its way
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(std::slice::from_ref(&first)).await?;
    shop.upload(&session, &[first]).await?;
    while shop.status(&session).await?["files"][0]["chunks"]["staged"] == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    put_object(&ground, key(&shop, &session, 0), &second.bytes).await?;
    let status = shop.finished(&session).await?;
    let file = &status["files"][0];
    if file["state"] == "failed" {
        assert_eq!(file["error"]["code"], "OBJECT_REPLACED");
    } else {
        assert_eq!((&file["state"], counts(file)), (&"completed".into(), [1_500, 1_500, 0, 0, 0]));
    }
    ground.drained().await?;
    let stored = shop.books.texts(sets, &[]).await?;
    assert!(stored.is_empty() || stored == ["first!"], "{stored:?}");
    Ok(())
}

pub(super) async fn a_checksum_is_held_against_the_object(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [
        File::new("customers_right.ndjson", ndjson((0..60).map(customer))),
        File::new("customers_wrong.ndjson", ndjson((60..90).map(customer))),
    ];
    let sums = [hex::encode(Sha256::digest(&files[0].bytes)), hex::encode(Sha256::digest(b"another file"))];
    let declared = files.iter().zip(&sums).map(|(file, sum)| at(file.declared(), "sha256", sum.as_str()));
    let session = shop.create(&json!({"files": declared.collect::<Vec<_>>()})).await?;
    shop.upload(&session, &files).await?;
    let status = shop.finished(&session).await?;
    assert_eq!(counts(file_named(&status, "customers_right.ndjson")), [60, 60, 0, 0, 0]);
    let wrong = file_named(&status, "customers_wrong.ndjson");
    assert_eq!((&wrong["state"], &wrong["error"]["code"]), (&"failed".into(), &"CHECKSUM_MISMATCH".into()));
    assert_eq!(counts(wrong), [0; 5]);
    Ok(())
}
