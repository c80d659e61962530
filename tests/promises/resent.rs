//! Files that are sent again, as they were or changed.

use crate::support::{File, Ground, Shop, at, counts, customer, id, item, ndjson, order, product};
use anyhow::Result;
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn the_file_sent_twice_is_all_unchanged(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [
        File::new("customers.ndjson", ndjson((0..60).map(customer))),
        File::new("products.ndjson", ndjson((0..60).map(product))),
        File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31")))),
        File::new("order_items.ndjson", ndjson((0..60).map(item))),
    ];
    let stored = async || {
        let sql = "select row_to_json(customers)::text || xmin from customers
            union all select row_to_json(products)::text || xmin from products
            union all select row_to_json(orders)::text || xmin from orders
            union all select row_to_json(order_items)::text || xmin from order_items order by 1";
        shop.books.texts(sql, &[]).await
    };
    let (_, first) = shop.send(&files).await?;
    assert_eq!(counts(&first), [240, 240, 0, 0, 0]);
    let once = stored().await?;
    let (_, second) = shop.send(&files).await?;
    assert_eq!(counts(&second), [240, 0, 0, 240, 0]);
    assert_eq!(stored().await?, once, "no row was written again");
    Ok(())
}

pub(super) async fn a_changed_row_keeps_its_creation(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let send = async |row: Value| {
        let (_, status) = shop.send(&[File::new("products.ndjson", ndjson([row]))]).await?;
        let sql = "select price || ' ' || created_at from products";
        anyhow::Ok((counts(&status), shop.books.texts(sql, &[]).await?.remove(0)))
    };
    let (inserted, before) = send(product(1)).await?;
    let (updated, after) = send(at(product(1), "price", "20")).await?;
    assert_eq!((inserted, updated), ([1, 1, 0, 0, 0], [1, 0, 1, 0, 0]));
    assert_eq!(after, before.replace("19.99", "20.00"));
    let (updated, after) = send(at(product(1), "created_at", "2020-01-31T00:00:00")).await?;
    assert_eq!(
        (updated, after.as_str()),
        ([1, 0, 1, 0, 0], "19.99 2020-01-31 00:00:00+00"),
        "unless it states its own"
    );
    Ok(())
}

pub(super) async fn a_row_that_comes_back_with_its_creation_is_unchanged(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = [
        File::new("products.ndjson", ndjson((0..30).map(product))),
        File::new("orders.ndjson", ndjson((0..30).map(|number| order(number, "2026-01-31")))),
    ];
    shop.send(&files).await?;
    let created = "select to_char(min(created_at) at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') from ";
    let mut stating = Vec::new();
    for (table, row) in [("products", product as fn(u64) -> Value), ("orders", |number| order(number, "2026-01-31"))] {
        let time = shop.books.texts(&format!("{created}{table}"), &[]).await?.remove(0);
        let rows = (0..30).map(|number| at(row(number), "created_at", time.as_str()));
        stating.push(File::new(format!("{table}.ndjson"), ndjson(rows)));
    }
    let (_, status) = shop.send(&stating).await?;
    assert_eq!(counts(&status), [60, 0, 0, 60, 0]);
    // another time is news, and so is another value
    let other = at(product(1), "created_at", "2020-01-31T00:00:00");
    let (_, status) = shop.send(&[File::new("products.ndjson", ndjson([other]))]).await?;
    assert_eq!(counts(&status), [1, 0, 1, 0, 0]);
    Ok(())
}

/// The partition and status of the one order.
async fn place(shop: &Shop) -> Result<Vec<String>> {
    shop.books.texts("select tableoid::regclass::text || ' ' || order_status from orders", &[]).await
}

pub(super) async fn an_order_moves_with_its_date(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for (day, status, partition) in [
        ("2026-01-31", "pending", "orders_y2026m01"),
        ("2026-02-01", "pending", "orders_y2026m02"),
        ("1969-05-05", "confirmed", "orders_default"),
        ("1968-05-05", "shipped", "orders_default"),
        ("2026-03-01", "shipped", "orders_y2026m03"),
        ("2026-03-02", "delivered", "orders_y2026m03"),
    ] {
        let row = at(order(1, day), "order_status", status);
        let (_, sent) = shop.send(&[File::new("orders.ndjson", ndjson([row]))]).await?;
        assert_eq!(
            counts(&sent),
            if status == "pending" && day == "2026-01-31" { [1, 1, 0, 0, 0] } else { [1, 0, 1, 0, 0] }
        );
        assert_eq!(place(&shop).await?, [format!("{partition} {status}")]);
        let keys = "select order_date::date::text from order_keys where order_id = $1";
        assert_eq!(shop.books.texts(keys, &[&id(1)]).await?, [day]);
    }
    Ok(())
}

pub(super) async fn a_partition_made_later_takes_its_orders_over(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |status: &str| File::new("orders.ndjson", ndjson([at(order(1, "1998-07-31"), "order_status", status)]));
    let (_, sent) = shop.send(&[file("pending")]).await?;
    assert_eq!(counts(&sent), [1, 1, 0, 0, 0]);
    let made = "select ensure_order_months('1998-07-01', '1998-07-01')::text";
    assert_eq!(shop.books.texts(made, &[]).await?, ["1"]);
    assert_eq!(place(&shop).await?, ["orders_y1998m07 pending"]);
    let (_, sent) = shop.send(&[file("shipped")]).await?;
    assert_eq!(counts(&sent), [1, 0, 1, 0, 0]);
    assert_eq!(place(&shop).await?, ["orders_y1998m07 shipped"]);
    Ok(())
}
