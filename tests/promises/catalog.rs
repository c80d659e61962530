//! Orders with their items, products and customers, as clients look them up.

use crate::support::{File, Ground, Shop, at, customer, id, item, ndjson, order, product};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;

fn of(shop: &Shop, path: &str) -> String {
    format!("/api/v1/tenants/{}/{path}", shop.id)
}

pub(super) async fn an_order_is_told_with_its_items(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let items = (0..1_005).map(|number| {
        let row = at(item(number), "order_id", id(1).to_string());
        at(row, "product_id", id(if number == 0 { 3 } else { 4 }).to_string())
    });
    let files = [
        File::new("products.ndjson", ndjson([product(3)])),
        File::new("orders.ndjson", ndjson([order(1, "1999-12-31"), order(2, "2026-01-31")])),
        File::new("order_items.ndjson", ndjson(items)),
    ];
    shop.send(&files).await?;
    let answer = shop.get(&of(&shop, &format!("orders/{}", id(1)))).await?.json(200)?;
    assert_eq!(answer["order"]["external_order_id"], "ORD-1");
    assert_eq!(answer["order"]["total_amount"], json!(10.5));
    assert_eq!(answer["order"]["order_date"], "1999-12-31T12:00:00Z");
    let expected = json!({
        "order_item_id": id(0), "product_id": id(3), "sku": "SKU-3", "product_name": "Kettle", "quantity": 3,
        "unit_price": 1.5, "line_total": 4.5,
    });
    assert_eq!(answer["items"][0], expected);
    assert_eq!((&answer["items"][1]["sku"], &answer["items"][1]["product_name"]), (&Value::Null, &Value::Null));
    assert_eq!(answer["items"].as_array().map(Vec::len), Some(1_000));
    let cursor = answer["next_cursor"].as_str().context("there are more")?;
    let rest = shop.get(&of(&shop, &format!("orders/{}?cursor={cursor}", id(1)))).await?.json(200)?;
    assert_eq!((rest["items"].as_array().map(Vec::len), &rest["next_cursor"]), (Some(5), &Value::Null));
    let foreign = shop.get(&of(&shop, &format!("orders/{}?cursor={cursor}", id(2)))).await?.json(400)?;
    assert_eq!(foreign["errors"][0]["code"], "INVALID_CURSOR");
    let empty = shop.get(&of(&shop, &format!("orders/{}/", id(2)))).await?.json(200)?;
    assert_eq!(empty["items"], json!([]));
    Ok(())
}

pub(super) async fn products_and_customers_are_told_as_they_are(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let category = id(77);
    let products = (1..=9).map(|number| {
        let row = at(product(number), "active", number % 2 == 0);
        if number % 3 == 0 { at(row, "category_id", category.to_string()) } else { row }
    });
    let customers = [at(customer(1), "metadata", json!({"since": 2019})), customer(2)];
    let files = [
        File::new("customers.ndjson", ndjson(customers)),
        File::new("products.ndjson", ndjson(products)),
        File::new("stock_events.ndjson", ndjson([json!({"product_id": id(4), "delta": 12})])),
    ];
    shop.send(&files).await?;
    let found = async |query: &str| {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = shop.get(&of(&shop, &format!("products?limit=2{query}{cursor}"))).await?.json(200)?;
            let products = page["products"].as_array().context("products")?;
            assert!(products.len() <= 2, "{page}");
            found.extend(products.iter().filter_map(|product| product["product_id"].as_str()?.parse::<Uuid>().ok()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return anyhow::Ok(found),
            }
        }
    };
    let ids = |numbers: &[u64]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    assert_eq!(found("").await?, ids(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(found("&active=true").await?, ids(&[2, 4, 6, 8]));
    assert_eq!(found(&format!("&category_id={category}")).await?, ids(&[3, 6, 9]));
    assert_eq!(found(&format!("&active=false&category_id={category}")).await?, ids(&[3, 9]));
    assert_eq!(found("&sku=SKU-5").await?, ids(&[5]));
    assert_eq!(found("&sku=sku-5").await?, ids(&[]));

    let one = shop.get(&of(&shop, &format!("products/{}", id(4)))).await?.json(200)?;
    let created_at = one["created_at"].as_str().context("a time")?;
    assert!(created_at.ends_with('Z'), "{created_at}");
    let expected = json!({
        "product_id": id(4), "sku": "SKU-4", "name": "Kettle", "price": 19.99, "category_id": null, "active": true,
        "stock_level": 12, "created_at": created_at,
    });
    assert_eq!(one, expected);
    // what lies below it is another function's
    let events = shop.get(&of(&shop, &format!("products/{}/stock-events", id(4)))).await?.json(200)?;
    assert_eq!(events["events"].as_array().map(Vec::len), Some(1));

    let one = shop.get(&of(&shop, &format!("customers/{}/", id(1)))).await?.json(200)?;
    assert_eq!((&one["name"], &one["email"]), (&json!("Customer 1"), &json!("c1@shop.example")));
    assert_eq!(one["metadata"], json!({"since": 2019}));
    let other = shop.get(&of(&shop, &format!("customers/{}", id(2)))).await?.json(200)?;
    assert_eq!(other["metadata"], Value::Null);

    let cursor = shop.get(&of(&shop, "products?limit=2")).await?.json(200)?["next_cursor"].clone();
    let cursor = cursor.as_str().context("a cursor")?;
    for (query, pointer, code) in [
        ("limit=0", "/limit", "INVALID_LIMIT"),
        ("limit=1001", "/limit", "INVALID_LIMIT"),
        ("active=maybe", "/active", "INVALID_VALUE"),
        ("category_id=42", "/category_id", "INVALID_UUID"),
        ("sku=", "/sku", "INVALID_VALUE"),
        ("cursor=x", "/cursor", "INVALID_CURSOR"),
        ("colour=red", "/colour", "UNKNOWN_FIELD"),
        (&format!("active=true&cursor={cursor}"), "/cursor", "INVALID_CURSOR"),
    ] {
        let problem = shop.get(&of(&shop, &format!("products?{query}"))).await?.json(400)?;
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)), "{problem:#}");
    }
    Ok(())
}

pub(super) async fn another_tenants_things_are_unknown(ground: Arc<Ground>) -> Result<()> {
    let (shop, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let files = [
        File::new("customers.ndjson", ndjson([customer(1)])),
        File::new("products.ndjson", ndjson([product(1)])),
        File::new("orders.ndjson", ndjson([order(1, "2026-01-31")])),
    ];
    shop.send(&files).await?;
    for path in ["orders", "products", "customers"] {
        let path = format!("{path}/{}", id(1));
        shop.get(&of(&shop, &path)).await?.json(200)?;
        // by its own path it is not there, and the path of the other one is none
        for unknown in [other.get(&of(&other, &path)).await?, other.get(&of(&shop, &path)).await?] {
            assert_eq!(unknown.json(404)?["code"], "NOT_FOUND");
        }
        for nonsense in ["42", "search2", "%20"] {
            let path = path.replace(&id(1).to_string(), nonsense);
            assert_eq!(shop.get(&of(&shop, &path)).await?.json(404)?["code"], "NOT_FOUND", "{path}");
        }
    }
    for path in ["orders/search", "products"] {
        assert_eq!(other.get(&of(&shop, path)).await?.json(404)?["code"], "NOT_FOUND");
    }
    assert_eq!(other.get(&of(&other, "products")).await?.json(200)?, json!({"products": [], "next_cursor": null}));
    Ok(())
}
