//! Functions meet the sample events, and messages that are none.

use crate::support::{Ground, Shop, event, message};
use anyhow::Result;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn sample_events_are_understood(ground: Arc<Ground>) -> Result<()> {
    let acknowledged = json!({"batchItemFailures": []});
    for (function, name) in [
        ("PlanFile", "plan-file.test-event"),
        ("PlanFile", "plan-file.object-created"),
        ("LoadChunk", "load-chunk.chunk"),
        ("LoadChunk", "load-chunk.redriven"),
        ("PromoteFile", "promote-file.file"),
        ("RefreshMetrics", "refresh-metrics.tenant"),
        ("RunExport", "run-export.export"),
        ("DeliverWebhook", "deliver-webhook.webhook"),
        ("RecordDeadLetter", "record-dead-letter.object-created"),
        ("RecordDeadLetter", "record-dead-letter.chunk"),
        ("RecordDeadLetter", "record-dead-letter.promotion"),
        ("RecordDeadLetter", "record-dead-letter.webhook"),
        ("RecordDeadLetter", "record-dead-letter.metrics"),
        ("RecordDeadLetter", "record-dead-letter.export"),
    ] {
        assert_eq!(ground.invoke(function, &event(name)?).await?, acknowledged, "{name}");
    }
    assert_eq!(ground.invoke("Migrate", &event("migrate.deploy")?).await?, json!({"applied": []}));
    let chores = ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    assert!(["partitions", "expired", "resent"].iter().all(|chore| chores[chore].is_u64()), "{chores}");

    assert_eq!(ground.invoke("Site", &event("site.docs")?).await?["statusCode"], 200);
    for (function, name) in [
        ("StockApi", "stock-api.bulk-update"),
        ("PriceApi", "price-api.price-event"),
        ("ReportApi", "report-api.orders-search"),
    ] {
        assert_eq!(ground.invoke(function, &event(name)?).await?["statusCode"], 401, "the sample's tenant is unknown");
    }
    let mut request = event("ingest-api.create-session")?;
    assert_eq!(ground.invoke("IngestApi", &request).await?["statusCode"], 401, "the sample's tenant is unknown");
    let shop = Shop::open(&ground).await?;
    request["headers"]["X-API-Key"] = shop.key.as_str().into();
    request["multiValueHeaders"]["X-API-Key"] = json!([shop.key.as_str()]);
    assert_eq!(ground.invoke("IngestApi", &request).await?["statusCode"], 201);
    Ok(())
}

pub(super) async fn malformed_messages_are_dropped(ground: Arc<Ground>) -> Result<()> {
    let nothing = "00000000-0000-4000-8000-000000000000";
    let messages = [
        ("uploads", "PlanFile", message("plan-file.test-event")?),
        ("uploads", "PlanFile", "no JSON".to_owned()),
        ("uploads", "PlanFile", json!({"Records": [{"s3": {"object": {"key": "elsewhere/%zz"}}}]}).to_string()),
        ("uploads", "PlanFile", json!({"Records": [{"s3": {}}]}).to_string()),
        ("chunks", "LoadChunk", "{".to_owned()),
        ("chunks", "LoadChunk", json!({"tenant_id": nothing, "file_id": nothing, "chunk_index": -1}).to_string()),
        ("promotions", "PromoteFile", "[]".to_owned()),
        ("promotions", "PromoteFile", json!({"tenant_id": nothing, "file_id": nothing}).to_string()),
        ("metrics", "RefreshMetrics", "{}".to_owned()),
        ("metrics", "RefreshMetrics", json!({"tenant_id": nothing}).to_string()),
        ("exports", "RunExport", "{}".to_owned()),
        ("exports", "RunExport", json!({"tenant_id": nothing, "export_id": nothing}).to_string()),
        ("webhooks", "DeliverWebhook", "{}".to_owned()),
        ("webhooks", "DeliverWebhook", json!({"tenant_id": nothing, "webhook_id": nothing}).to_string()),
    ];
    for (queue, function, message) in &messages {
        assert!(ground.deliver(function, message).await?, "{function}: {message}");
        ground.send(queue, message).await?;
    }
    ground.drained().await?;
    assert_eq!(ground.dead_letters().await?, 0);
    Ok(())
}
