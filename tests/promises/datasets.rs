//! Rows arrive as they were sent, column by column.

use crate::support::{File, Ground, Shop, counts, customer, id, item, ndjson, order, product};
use anyhow::Result;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn each_dataset_goes_all_the_way(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let customers = [
        json!({
            "tenant_id": shop.id, "customer_id": id(1), "name": "Zoë \"Z\" O'Neill", "email": "zoe@shop.example",
            "metadata": {"vip": true, "tags": ["a", null], "n": 1.5}, "created_at": "2025-03-04T05:06:07.891234+02:00",
            "unknown": [1],
        }),
        customer(2),
    ];
    let products = [
        json!({
            "product_id": id(1), "sku": "K-1", "name": "Kettle", "price": "9999999999.99", "category_id": id(77),
            "active": false, "created_at": "2025-03-04 05:06:07",
        }),
        product(2),
    ];
    let orders = [
        json!({
            "order_id": id(1), "external_order_id": "A-1", "customer_id": id(1), "customer_name_snapshot": "Zoë",
            "customer_email_snapshot": "zoe@shop.example", "total_amount": 59.970000000000006, "currency": "EUR",
            "order_status": "shipped", "order_date": "2026-01-31T23:59:59.999999Z",
            "raw_payload": {"source": "web", "campaign": null}, "created_at": "2026-02-01T00:00:00Z",
        }),
        order(2, "2026-02-28"),
    ];
    let items = [
        json!({
            "order_item_id": id(1), "order_id": id(1), "product_id": id(1), "quantity": 2, "unit_price": "0.10",
            "line_total": 0.2,
        }),
        item(2),
    ];
    let prices = [
        json!({"id": id(1), "product_id": id(1), "price": 5, "effective_from": "2026-01-01", "effective_to": null}),
        json!({
            "id": id(2), "product_id": id(1), "price": "7.5", "effective_from": "2026-01-01T00:00:00",
            "effective_to": "2026-02-01T00:00:00Z",
        }),
    ];
    let stock = [
        json!({
            "stock_event_id": id(1), "product_id": id(1), "delta": -3, "resulting_level": 40,
            "event_time": "2026-01-01T00:00:00Z", "source": "order", "meta": {"order": 1},
        }),
        // an event without an id gets one, each its own
        json!({"product_id": id(1), "delta": "12"}),
        json!({"product_id": id(1), "delta": "12"}),
    ];
    let files = [
        File::new("stock_events_x.ndjson", ndjson(stock)),
        File::new("price_history_x.ndjson", ndjson(prices)),
        File::new("customers_x.ndjson", ndjson(customers)),
        File::new("products_x.ndjson", ndjson(products)),
        File::new("orders_x.ndjson", ndjson(orders)),
        File::new("order_items_x.ndjson", ndjson(items)),
    ];
    let (session, status) = shop.send(&files).await?;
    assert_eq!(status["state"], "completed");
    assert_eq!(status["status"], "completed");
    assert_eq!(counts(&status), [13, 13, 0, 0, 0]);

    let stored = async |table: &str, columns: &str| {
        let sql = format!("select row_to_json(stored)::text from (select {columns} from {table} order by 1) as stored");
        shop.books.texts(&sql, &[]).await
    };
    // a row without `created_at` was created when its file arrived
    let created = "(created_at = (select uploaded_at from files where dataset = $d)) as now";
    let created = |dataset: &str| created.replace("$d", &format!("'{dataset}'"));
    let [one, two] = [id(1), id(2)];
    assert_eq!(
        stored(
            "customers",
            &format!("customer_id, tenant_id, name, email, metadata, created_at, {}", created("customers"))
        )
        .await?[0],
        format!(
            r#"{{"customer_id":"{one}","tenant_id":"{}","name":"Zoë \"Z\" O'Neill","email":"zoe@shop.example","metadata":{{"n": 1.5, "vip": true, "tags": ["a", null]}},"created_at":"2025-03-04T03:06:07.891234+00:00","now":false}}"#,
            shop.id
        )
    );
    assert_eq!(
        stored("customers", &format!("customer_id, name, email, metadata, {}", created("customers"))).await?[1],
        format!(
            r#"{{"customer_id":"{two}","name":"Customer 2","email":"c2@shop.example","metadata":null,"now":true}}"#
        )
    );
    assert_eq!(
        stored("products", "product_id, sku, name, price, category_id, active, created_at").await?[0],
        format!(
            r#"{{"product_id":"{one}","sku":"K-1","name":"Kettle","price":9999999999.99,"category_id":"{}","active":false,"created_at":"2025-03-04T05:06:07+00:00"}}"#,
            id(77)
        )
    );
    assert_eq!(
        stored("products", &format!("product_id, sku, name, price, category_id, active, {}", created("products")))
            .await?[1],
        format!(
            r#"{{"product_id":"{two}","sku":"SKU-2","name":"Kettle","price":19.99,"category_id":null,"active":true,"now":true}}"#
        )
    );
    let columns = "order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot, \
        total_amount, currency, order_status, order_date, raw_payload";
    assert_eq!(
        stored("orders", &format!("{columns}, created_at")).await?[0],
        format!(
            r#"{{"order_id":"{one}","external_order_id":"A-1","customer_id":"{one}","customer_name_snapshot":"Zoë","customer_email_snapshot":"zoe@shop.example","total_amount":59.97,"currency":"EUR","order_status":"shipped","order_date":"2026-01-31T23:59:59.999999+00:00","raw_payload":{{"source": "web", "campaign": null}},"created_at":"2026-02-01T00:00:00+00:00"}}"#
        )
    );
    assert_eq!(
        stored("orders", &format!("{columns}, {}", created("orders"))).await?[1],
        format!(
            r#"{{"order_id":"{two}","external_order_id":"ORD-2","customer_id":null,"customer_name_snapshot":null,"customer_email_snapshot":null,"total_amount":10.50,"currency":"USD","order_status":"pending","order_date":"2026-02-28T12:00:00+00:00","raw_payload":null,"now":true}}"#
        )
    );
    let columns = "order_item_id, order_id, product_id, quantity, unit_price, line_total";
    assert_eq!(
        stored("order_items", columns).await?,
        [
            format!(
                r#"{{"order_item_id":"{one}","order_id":"{one}","product_id":"{one}","quantity":2,"unit_price":0.10,"line_total":0.20}}"#
            ),
            format!(
                r#"{{"order_item_id":"{two}","order_id":"{two}","product_id":"{two}","quantity":3,"unit_price":1.50,"line_total":4.50}}"#
            ),
        ]
    );
    assert_eq!(
        stored("price_history", "id, product_id, price, effective_from, effective_to").await?,
        [
            format!(
                r#"{{"id":"{one}","product_id":"{one}","price":5.00,"effective_from":"2026-01-01T00:00:00+00:00","effective_to":null}}"#
            ),
            format!(
                r#"{{"id":"{two}","product_id":"{one}","price":7.50,"effective_from":"2026-01-01T00:00:00+00:00","effective_to":"2026-02-01T00:00:00+00:00"}}"#
            ),
        ]
    );
    // the level after an event is ours, whatever its sender believes
    let columns = "sequence, delta, product_id, outcome, change, resulting_level, event_time, source, meta";
    let nameless = |sequence: u8, level: u8| {
        format!(
            r#"{{"sequence":{sequence},"delta":12,"product_id":"{one}","outcome":"applied","change":12,"resulting_level":{level},"event_time":null,"source":null,"meta":null}}"#
        )
    };
    assert_eq!(
        stored("stock_events", columns).await?,
        [
            format!(
                r#"{{"sequence":1,"delta":-3,"product_id":"{one}","outcome":"clamped","change":0,"resulting_level":0,"event_time":"2026-01-01T00:00:00+00:00","source":"order","meta":{{"order": 1}}}}"#
            ),
            nameless(2, 12),
            nameless(3, 24),
        ]
    );
    assert_eq!(
        stored("stock_levels", "product_id, level, sequence").await?,
        [format!(r#"{{"product_id":"{one}","level":24,"sequence":3}}"#)]
    );
    assert!(shop.rejects(&session, 1000).await?.is_empty());
    Ok(())
}
