//! Rows that meet rows: the same id, the same natural key, within a file, a session and over sessions.

use crate::support::{
    CHUNK_BYTES, File, Ground, Shop, at, counts, customer, file_named, id, lines, ndjson, order, product,
};
use anyhow::Result;
use intake_domain::reject::Code;
use serde_json::Value;
use std::sync::Arc;

async fn names(shop: &Shop, number: u64) -> Result<Vec<String>> {
    shop.books.texts("select name::text from customers where customer_id = $1", &[&id(number)]).await
}

pub(super) async fn the_last_row_of_an_id_wins(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    // the pairs lie within one chunk and chunks apart
    let rows = [customer(1), at(customer(1), "name", "near"), customer(2), customer(2), customer(3)]
        .into_iter()
        .chain((100..200).map(customer))
        .chain([at(customer(3), "name", "far"), customer(150)]);
    let file = File::new("customers.ndjson", ndjson(rows));
    assert!(file.bytes.len() > 3 * CHUNK_BYTES);
    let (_, status) = shop.send(&[file]).await?;
    assert_eq!(counts(&status), [107, 103, 2, 2, 0]);
    assert_eq!(names(&shop, 1).await?, ["near"]);
    assert_eq!(names(&shop, 3).await?, ["far"]);
    Ok(())
}

pub(super) async fn the_last_file_of_a_session_wins(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let file = |version: &str| {
        let rows = (0..60).map(|number| at(customer(number), "name", version));
        File::new(format!("customers_{version}.ndjson"), ndjson(rows))
    };
    let files = [file("first"), file("second"), file("third")];
    let session = shop.declare(&files).await?;
    // they arrive in the opposite order
    for (declared, file) in session.files.iter().zip(&files).rev() {
        shop.put(declared, &file.bytes).await?;
    }
    let status = shop.finished(&session).await?;
    assert_eq!(counts(file_named(&status, "customers_first.ndjson")), [60, 60, 0, 0, 0]);
    assert_eq!(counts(file_named(&status, "customers_second.ndjson")), [60, 0, 60, 0, 0]);
    assert_eq!(counts(file_named(&status, "customers_third.ndjson")), [60, 0, 60, 0, 0]);
    assert_eq!(shop.books.texts("select distinct name::text from customers", &[]).await?, ["third"]);
    Ok(())
}

pub(super) async fn a_taken_natural_key_is_a_reject(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    type Row = fn(u64) -> Value;
    let cases: [(&str, &str, Row); 3] = [
        ("customers", "email", customer),
        ("products", "sku", product),
        ("orders", "external_order_id", |number| order(number, if number < 50 { "2026-01-31" } else { "2026-05-01" })),
    ];
    for (dataset, field, row) in cases {
        let taken = at(row(99), field, row(7)[field].clone()).to_string();
        let rows = (0..60).map(|number| row(number).to_string()).chain([taken.clone(), row(60).to_string()]);
        let file = File::new(format!("{dataset}_1.ndjson"), lines(rows));
        let again = File::new(format!("{dataset}_2.ndjson"), lines([row(61).to_string(), taken.clone()]));
        // within a file, over two files of a session, and over sessions
        for (files, expected) in [
            (vec![file.clone()], vec![(&file, 61)]),
            (vec![again.clone()], vec![(&again, 2)]),
            (vec![file.clone(), again.clone()], vec![(&file, 61), (&again, 2)]),
        ] {
            let (session, status) = shop.send(&files).await?;
            assert_eq!(status["state"], "completed_with_errors");
            let rejects = shop.rejects(&session, 100).await?;
            assert_eq!(rejects.len(), expected.len(), "{dataset}: {rejects:?}");
            for (reject, (file, line)) in rejects.iter().zip(expected) {
                assert_eq!((&reject.file, reject.line), (&file.name, line));
                assert!(file.bytes[reject.byte_offset..].starts_with(taken.as_bytes()), "{reject:?}");
                assert_eq!(reject.record.get(), taken);
                assert_eq!(reject.key, Some(id(99).to_string()));
                assert_eq!(reject.errors.len(), 1);
                assert_eq!(reject.errors[0].code, Code::NaturalKeyTaken);
                assert_eq!(reject.errors[0].pointer, format!("/{field}"));
                assert!(reject.errors[0].detail.contains(&id(7).to_string()), "{reject:?}");
            }
        }
        assert_eq!(shop.books.rows().await?[dataset], 62);
    }
    Ok(())
}

pub(super) async fn a_freed_natural_key_can_be_taken(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mail = |number: u64, name: &str| at(customer(number), "email", format!("{name}@shop.example"));
    let (_, status) = shop.send(&[File::new("customers.ndjson", ndjson([mail(1, "a"), mail(2, "b")]))]).await?;
    assert_eq!(counts(&status), [2, 2, 0, 0, 0]);
    // 1 gives up a, 3 takes it; 2 takes what 1 gave up next, and 1 wants b, which 2 left; then 4 comes too late
    let chain = [mail(1, "c"), mail(3, "a"), mail(1, "d"), mail(2, "c"), mail(1, "b"), mail(4, "c")];
    let (_, status) = shop.send(&[File::new("customers.ndjson", ndjson(chain))]).await?;
    assert_eq!(counts(&status), [6, 1, 4, 0, 1]);
    let stored = shop.books.texts("select email::text from customers order by customer_id", &[]).await?;
    assert_eq!(stored, ["b@shop.example", "c@shop.example", "a@shop.example"]);
    Ok(())
}
