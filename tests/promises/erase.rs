//! An erased tenant is gone, wherever it had anything, and nobody else misses anything.

use super::price_holds::hold;
use super::prices::set_policy;
use super::stock::update;
use crate::support::{
    Answer, File, Ground, PART_BYTES, Shop, at, counts, customer, event, id, item, ndjson, order, product, tables,
};
use anyhow::{Context, Result, ensure};
use intake::erase;
use intake::target::Stores;
use intake_aws::messages::{DeliverWebhook, LoadChunk, ObjectCreated, PromoteFile};
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

fn stores(ground: &Ground) -> Result<Stores> {
    let Ground { endpoints, .. } = ground;
    Ok(Stores::new(&ground.aws, &endpoints.bucket, ground.table("IdempotencyTable")?, ground.table("RateTable")?))
}

/// A shop that has something everywhere.
async fn everywhere(ground: &Arc<Ground>) -> Result<Shop> {
    let shop = Shop::open(ground).await?;
    let bad = at(order(99, "2026-01-31"), "total_amount", "much");
    let files = [
        File::new("customers.ndjson", ndjson((0..60).map(customer))),
        File::new("products.ndjson", ndjson((0..60).map(product))),
        File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31")).chain([bad]))),
        File::new("order_items.ndjson", ndjson((0..60).map(item))),
    ];
    let (_, status) = shop.send(&files).await?;
    assert_eq!(counts(&status), [241, 240, 0, 0, 1]);
    set_policy(&shop, "hold").await?;
    hold(&shop, 1, 199.9).await?;
    let moved = json!({"product_id": id(1), "delta": 5});
    ensure!(Answer::to(update(&shop, "", ndjson([moved]))).await?.status == 200);
    // a file of which one part has arrived, declared under an idempotency key
    let file = File::new("customers.ndjson", vec![b'\n'; 2 * PART_BYTES]);
    let request = shop.request(Method::POST, "/api/v1/ingest/sessions").header("idempotency-key", "once");
    let declared = Answer::to(request.json(&json!({"files": [file.declared()]}))).await?.json(201)?;
    let part = &declared["files"][0]["upload"]["parts"][0];
    ensure!(shop.put_to(part, &file.bytes[..PART_BYTES]).await?.status == 200);
    for prefix in ["staging", "unpacked", "exports"] {
        let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(format!("{prefix}/{}/left", shop.id));
        put.body(b"left".to_vec().into()).send().await?;
    }
    // and a row in every table that there is, known to this test or not
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    for table in tables::tenant_tables(&owner).await?.iter().filter(|table| table.name != "tenants") {
        if matches!(table.name.as_str(), "erasures" | "api_keys") {
            continue;
        }
        let sql = table.insert(&owner, shop.id).await?;
        owner.execute(&sql, &[]).await.with_context(|| sql.clone())?;
    }
    Ok(shop)
}

fn request(tenant: Uuid, by: &str) -> erase::Request<'_> {
    erase::Request { tenant, by, key_lifetime: erase::KNOWN_FOR }
}

/// What a tenant has, found otherwise than the erasure finds it.
async fn found(ground: &Ground, tenant: Uuid) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
    for table in tables::tenant_tables(&owner).await? {
        let sql = format!("select count(*) from {} where tenant_id = $1", table.name);
        let count: i64 = owner.query_one(&sql, &[&tenant]).await?.get(0);
        found.insert(table.name, count.unsigned_abs());
    }
    let bucket = &ground.endpoints.bucket;
    let pages = ground.s3.list_objects_v2().bucket(bucket).into_paginator().send();
    let pages = pages.collect::<Result<Vec<_>, _>>().await?;
    let objects: Vec<_> = pages.iter().flat_map(|page| page.contents()).collect();
    let uploads = ground.s3.list_multipart_uploads().bucket(bucket).send().await?;
    let keys = objects.iter().filter_map(|object| object.key());
    let keys = keys.chain(uploads.uploads().iter().filter_map(|upload| upload.key()));
    found.insert("objects".to_owned(), keys.filter(|key| key.contains(&tenant.to_string())).count() as u64);
    for table in ["IdempotencyTable", "RateTable"] {
        let scanned = ground.dynamodb.scan().table_name(ground.table(table)?).into_paginator().items().send();
        let items = scanned.collect::<Result<Vec<_>, _>>().await?;
        let of_tenant = items.iter().filter(|item| format!("{item:?}").contains(&tenant.to_string()));
        found.insert(table.to_owned(), of_tenant.count() as u64);
    }
    Ok(found)
}

/// Begins an erasure and interrupts it while it waits for functions to forget the keys; then makes it look older.
async fn asked(ground: &Ground, shop: &Shop) -> Result<()> {
    let stores = stores(ground)?;
    let erasure = erase::erase(&ground.endpoints.owner_database_url, &stores, request(shop.id, "the tests"), &|_| ());
    // the owner sees the keys of all tenants
    let live = "select count(*)::text from api_keys where tenant_id = $1 and revoked_at is null";
    let revoked = async {
        while shop.books.texts(live, &[&shop.id]).await? != ["0"] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = erasure => anyhow::bail!("a minute is waited for: {ended:?}"),
        revoked = tokio::time::timeout(Duration::from_secs(50), revoked) => revoked.context("the keys are not revoked")??,
    }
    let older = "update erasures set asked_at = now() - interval '2 minutes' where tenant_id = $1";
    shop.books.execute(older, &[&shop.id]).await?;
    Ok(())
}

pub(super) async fn an_erased_tenant_is_gone_everywhere(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (everywhere(&ground).await?, everywhere(&ground).await?);
    let [before, others] = [found(&ground, shop.id).await?, found(&ground, other.id).await?];
    // touched days may have been counted meanwhile, and then are noted no more
    let fleeting = ["erasures", "sales_touches"];
    let has_nothing = |(what, count): &(&String, &u64)| **count == 0 && !fleeting.contains(&what.as_str());
    let empty: Vec<_> = before.iter().filter(has_nothing).collect();
    ensure!(empty.is_empty(), "the test would not notice: {empty:?}");
    let session = shop.books.texts("select upload_token::text from upload_sessions limit 1", &[]).await?.remove(0);
    let file =
        shop.books.texts("select tenant_id || '/sessions/' || session_id || '/' || file_id from files limit 1", &[]);
    let file = file.await?.remove(0);

    asked(&ground, &shop).await?;
    let done = erase::erase(&ground.endpoints.owner_database_url, &stores(&ground)?, request(shop.id, "else"), &|_| ())
        .await?;
    assert_eq!(done.left.values().sum::<u64>(), 0, "{:?}", done.left);
    assert!(done.left.len() > 25, "{:?}", done.left);
    let left: Vec<_> = found(&ground, shop.id).await?.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(left, [("erasures".to_owned(), 1)], "and that is what is known of it");
    assert_eq!((done.erasure.asked_by.as_str(), done.erasure.finished_at.is_some()), ("the tests", true));
    assert_eq!((done.removed["orders"], done.removed["tenants"], done.removed["objects in exports/"]), (61, 1, 1));

    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let log = intake_postgres::audit::list(&owner, Some(shop.id), Duration::from_secs(3_600)).await?;
    let log: Vec<_> = log.iter().map(|entry| (entry.action.as_str(), entry.asked_by.as_deref())).collect();
    assert_eq!(
        log,
        [("erasure_asked", Some("the tests")), ("erased", Some("the tests"))],
        "the log keeps that, and no more"
    );

    let now = found(&ground, other.id).await?;
    for what in ["customers", "orders", "order_keys", "order_items", "files", "rejects", "price_events", "objects"] {
        assert_eq!((what, now[what]), (what, others[what]), "of another tenant");
    }
    other.get("/api/v1/ingest/sessions").await?.json(200)?;

    // what was sent to it before is nobody's work
    let (tenant_id, file_id) = (shop.id, Uuid::now_v7());
    let key = format!("tenants/{file}");
    let put = ground.s3.put_object().bucket(&ground.endpoints.bucket).key(&key).if_none_match("*");
    put.body(b"{}\n".to_vec().into()).send().await?;
    for (function, message) in [
        ("PlanFile", serde_json::to_string(&ObjectCreated::of(key))?),
        ("LoadChunk", serde_json::to_string(&LoadChunk { tenant_id, file_id, chunk_index: 0 })?),
        ("PromoteFile", serde_json::to_string(&PromoteFile { tenant_id, file_id })?),
        ("DeliverWebhook", serde_json::to_string(&DeliverWebhook { tenant_id, webhook_id: file_id })?),
    ] {
        assert!(ground.deliver(function, &message).await?, "{function} drops {message}");
    }
    ensure!(shop.get(&format!("/api/v1/ingest/sessions/{session}/status")).await?.status != 200);
    // what came late is swept away
    ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    assert_eq!(found(&ground, shop.id).await?["objects"], 0);

    let again =
        erase::erase(&ground.endpoints.owner_database_url, &stores(&ground)?, request(shop.id, "else"), &|_| ())
            .await?;
    assert_eq!((again.erasure.finished_at, again.left.values().sum::<u64>()), (done.erasure.finished_at, 0));
    let nobody = Uuid::now_v7();
    let unknown =
        erase::erase(&ground.endpoints.owner_database_url, &stores(&ground)?, request(nobody, "else"), &|_| ()).await;
    assert!(unknown.is_err_and(|error| error.to_string().contains("there is no tenant")));
    Ok(())
}

pub(super) async fn an_erasure_in_the_middle_of_an_upload_leaves_nothing(ground: Arc<Ground>) -> Result<()> {
    // what fails for want of its tenant is to come again soon
    ground.hurried(erase_in_the_middle(&ground)).await
}

async fn erase_in_the_middle(ground: &Arc<Ground>) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let files = [
        File::new("customers.ndjson", ndjson((0..600).map(customer))),
        File::new("orders.ndjson", ndjson((0..600).map(|number| order(number, "2026-01-31")))),
    ];
    let session = shop.declare(&files).await?;
    ground.arm("load-chunk.after-put", shop.id, "sleep 3000")?;
    ground.arm("promote-file.before-commit", shop.id, "sleep 3000")?;
    shop.upload(&session, &files).await?;
    // some of it is being loaded, some promoted
    while ground.armed("load-chunk.after-put", shop.id).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    asked(ground, &shop).await?;
    erase::erase(&ground.endpoints.owner_database_url, &stores(ground)?, request(shop.id, "the tests"), &|_| ())
        .await?;
    ground.disarm("promote-file.before-commit", shop.id);
    ground.drained().await?;
    ensure!(ground.dead_letters().await? == 0, "what found no tenant was given up");
    ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    let left: Vec<_> = found(ground, shop.id).await?.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(left, [("erasures".to_owned(), 1)]);
    Ok(())
}
