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

fn with_checksum(file: &File) -> Value {
    at(file.declared(), "sha256", hex::encode(Sha256::digest(&file.bytes)))
}

pub(super) async fn a_checksum_is_held_against_the_object(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |name: &str, numbers: std::ops::Range<u64>| {
        File::new(format!("customers_{name}.ndjson"), ndjson(numbers.map(customer)))
    };
    let files = [file("right", 10..70), file("wrong", 70..99), file("large", 100_000..102_000)];
    let session = shop.create(&json!({"files": files.each_ref().map(with_checksum)})).await?;
    let reversed = |file: &File| file.bytes.iter().rev().copied().collect::<Vec<_>>();

    // S3 takes no other bytes from a client
    let upload = &session.files[0]["upload"];
    let refused = shop.put_to(upload, &reversed(&files[0])).await?;
    assert!(refused.status == 400 && refused.text.contains("BadDigest"), "{refused:?}");
    assert_eq!(shop.status(&session).await?["files"][0]["state"], "awaiting_upload");
    assert_eq!(shop.put_to(upload, &files[0].bytes).await?.status, 200);

    // what came by another way, or in parts, is read before it is loaded
    put_object(&ground, key(&shop, &session, 1), &reversed(&files[1])).await?;
    shop.put(&session.files[2], &reversed(&files[2])).await?;
    let status = shop.finished(&session).await?;
    assert_eq!(counts(file_named(&status, "customers_right.ndjson")), [60, 60, 0, 0, 0]);
    for name in ["customers_wrong.ndjson", "customers_large.ndjson"] {
        let wrong = file_named(&status, name);
        assert_eq!((&wrong["state"], &wrong["error"]["code"]), (&"failed".into(), &"CHECKSUM_MISMATCH".into()));
        assert_eq!(counts(wrong), [0; 5]);
    }
    Ok(())
}

pub(super) async fn an_object_is_written_once(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [File::new("products.ndjson", ndjson((0..40).map(product))), large()];
    let session = shop.declare(&files).await?;
    let renamed = ndjson((0..40).map(|number| at(product(number), "name", "Teapot")));
    let other = &[&renamed[..], &[b'\n'; 64]].concat()[..files[0].bytes.len()];
    let upload = &session.files[0]["upload"];
    assert_eq!(shop.put_to(upload, &files[0].bytes).await?.status, 200);
    for bytes in [other, &files[0].bytes] {
        let refused = shop.put_to(upload, bytes).await?;
        assert!(refused.status == 412 && refused.text.contains("PreconditionFailed"), "{refused:?}");
    }

    // parts do not become an object where one lies, and the client that sent them has nothing left to do
    put_object(&ground, key(&shop, &session, 1), &files[1].bytes).await?;
    shop.put(&session.files[1], &[&files[1].bytes[1..], b"\n"].concat()).await?;
    let status = shop.finished(&session).await?;
    assert_eq!((counts(&status), &status["state"]), ([2_040, 2_040, 0, 0, 0], &"completed".into()));
    assert_eq!(shop.books.texts("select distinct name::text from products", &[]).await?, ["Kettle"]);
    Ok(())
}

pub(super) async fn a_signed_address_is_good_for_one_object_and_its_headers(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let files = [File::new("customers.ndjson", ndjson((10..60).map(customer))), large()];
    let session = shop.create(&json!({"files": files.each_ref().map(with_checksum)})).await?;
    let upload = &session.files[0]["upload"];
    let url = upload["url"].as_str().context("a URL")?;
    for (name, value) in [
        ("X-Amz-Expires", "3600"),
        ("X-Amz-SignedHeaders", "content-length%3Bhost%3Bif-none-match%3Bx-amz-checksum-sha256"),
    ] {
        assert!(url.contains(&format!("{name}={value}")), "{name} of {url}");
    }
    for headers in [
        json!({}),
        json!({"if-none-match": "*"}),
        without(upload, "if-none-match"),
        without(upload, "x-amz-checksum-sha256"),
    ] {
        let refused = shop.put_to(&json!({"url": url, "headers": headers}), &files[0].bytes).await?;
        assert_eq!(refused.status, 403, "{headers}: {refused:?}");
    }
    let own = key(&shop, &session, 0);
    assert!(url.contains(&own), "{own} in {url}");
    let part = session.files[1]["upload"]["parts"][0]["url"].as_str().context("a URL")?;
    for (file, url, own) in [(0, url, own.clone()), (1, part, key(&shop, &session, 1))] {
        let bytes = &files[file].bytes[..files[file].bytes.len().min(PART_BYTES)];
        for another in [
            own.replace(&shop.id.to_string(), &other.id.to_string()),
            key(&shop, &session, 1 - file),
            format!("{own}x"),
            own.replacen("tenants/", "staging/", 1),
        ] {
            let elsewhere = at(upload.clone(), "url", url.replace(&own, &another));
            let refused = shop.put_to(&elsewhere, bytes).await?;
            assert_eq!(refused.status, 403, "{another}: {refused:?}");
        }
    }
    shop.upload(&session, &files).await?;
    assert_eq!(shop.finished(&session).await?["state"], "completed");
    Ok(())
}

/// The headers of an upload but for one.
fn without(upload: &Value, name: &str) -> Value {
    let mut headers = upload["headers"].clone();
    headers.as_object_mut().and_then(|headers| headers.remove(name)).map_or(Value::Null, |_| headers)
}

pub(super) async fn an_upload_whose_answer_was_lost_is_there(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = File::new("customers.ndjson", ndjson((0..30).map(customer)));
    let files = [File::new("a.ndjson", ""), file].map(|file| File { name: format!("customers_{}", file.name), ..file });
    let session = shop.declare(&files).await?;
    let resume = async || {
        let path = format!("/api/v1/ingest/sessions/{}/resume", session.token);
        shop.post(&path, &json!({})).await?.json(200)
    };
    // the first file waits, so that the session does
    assert_eq!(shop.put_to(&session.files[1]["upload"], &files[1].bytes).await?.status, 200);
    for _ in 0..2 {
        assert_eq!(shop.put_to(&session.files[1]["upload"], &files[1].bytes).await?.status, 412);
        let resumed = resume().await?;
        let [waiting, arrived] = resumed["files"].as_array().context("files")?.as_slice() else {
            anyhow::bail!("{resumed}")
        };
        assert!(arrived["upload"].is_null() && arrived["arrived_bytes"] == files[1].bytes.len(), "{arrived}");
        assert_eq!(waiting["upload"]["headers"]["if-none-match"], "*", "{waiting}");
    }
    shop.put(&session.files[0], b"").await?;
    assert_eq!(counts(&shop.finished(&session).await?), [30, 30, 0, 0, 0]);
    Ok(())
}

pub(super) async fn the_bucket_is_closed_encrypted_and_written_once(ground: Arc<Ground>) -> Result<()> {
    let bucket = &ground.endpoints.bucket;
    let policy = ground.s3.get_bucket_policy().bucket(bucket).send().await.context("a policy")?;
    let policy: Value = serde_json::from_str(policy.policy().context("a policy")?)?;
    let statement = |sid: &str| {
        let statements = policy["Statement"].as_array().into_iter().flatten();
        statements.into_iter().find(|statement| statement["Sid"] == sid).cloned().context(sid.to_owned())
    };
    let arn = format!("arn:aws:s3:::{bucket}");
    let denied = json!({"Sid": "HttpsOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [arn, format!("{arn}/*")], "Condition": {"Bool": {"aws:SecureTransport": false}}});
    assert_eq!(statement("HttpsOnly")?, denied);
    let denied = json!({"Sid": "UploadsAreWrittenOnce", "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": format!("{arn}/tenants/*"),
        "Condition": {"Null": {"s3:if-none-match": true}, "Bool": {"s3:ObjectCreationOperation": true}}});
    assert_eq!(statement("UploadsAreWrittenOnce")?, denied);

    let block = ground.s3.get_public_access_block().bucket(bucket).send().await.context("an access block")?;
    let block = block.public_access_block_configuration.context("an access block")?;
    let blocked =
        [block.block_public_acls, block.ignore_public_acls, block.block_public_policy, block.restrict_public_buckets];
    assert_eq!(blocked, [Some(true); 4]);
    let encryption = ground.s3.get_bucket_encryption().bucket(bucket).send().await.context("an encryption")?;
    let rules = encryption.server_side_encryption_configuration.context("an encryption")?.rules;
    assert!(rules.iter().any(|rule| rule.apply_server_side_encryption_by_default.is_some()), "{rules:?}");
    let ownership = ground.s3.get_bucket_ownership_controls().bucket(bucket).send().await.context("an ownership")?;
    let rules = ownership.ownership_controls.context("an ownership")?.rules;
    assert_eq!(rules.first().map(|rule| rule.object_ownership.as_str()), Some("BucketOwnerEnforced"));
    Ok(())
}
