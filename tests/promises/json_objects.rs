//! Objects of rows, which PostgreSQL keeps by what they say.

use crate::support::{File, Ground, Shop, counts, lines, order};
use anyhow::Result;
use intake_domain::json::canonical;
use std::sync::Arc;

/// Texts of objects, each of which is written otherwise by `jsonb`.
const OBJECTS: [&str; 24] = [
    "{}",
    r#"{"source": "web", "campaign": null, "discount_code": null}"#,
    r#"{"discount_code":null,"campaign":null,"source":"web"}"#,
    r#"{"b":1,"a":2,"b":3}"#,
    r#"{"a":{"c":1,"b":[{"z":1,"y":2,"z":3}]},"A":0}"#,
    r#"{"é":1,"e":2,"zz":3,"ß":4}"#,
    r#"{"\u00e9":1,"\u0065":2,"\ud83d\ude00":3,"😀x":4}"#,
    r#"{"a\"b":1,"a\\b":2,"a\/b":3,"tab\t":4}"#,
    r#"{"a\u0022":1,"aaa":2,"\u0001":3,"b":4}"#,
    "{\"a\" : [ 1 , 2 ] ,\r\n\t\"b\" : { } , \"c\" : [ ] }",
    r#"{"n":[0,-0,0.0,-0.00,0e5,0e-5,0.0e1,0E+3]}"#,
    r#"{"n":[1e2,1E2,1e+2,100,100.0,1.00e2,10000e-2,1.0e1]}"#,
    r#"{"n":[1e6,1e7,1e8,1000000,10000000,1e20,1e300,-1e300]}"#,
    r#"{"n":[1e-1,1e-6,1e-7,1e-8,1e-300,0.1,0.10,0.0000001]}"#,
    r#"{"n":[123456789012345678901234567890.123456789,1.5e3,1.5e-3,-2.50]}"#,
    r#"{"n":[1700000000001,1700000000000,0.30000000000000004,5e-299]}"#,
    r#"{"n":[12345678e-3,12345678e3,12345678.0e3,100000000000.00]}"#,
    r#"{"s":"\b\f\n\r\t\"\\\/\u001f\u007f\u0080"}"#,
    r#"{"s":"\u0041\u00df\u6771\ud834\udd1e"}"#,
    r#"{"":"","a":"","aa":"","b":""}"#,
    r#"{"t":true,"f":false,"n":null}"#,
    r#"{"a":[[[[[[[[[[{"b":{"a":1},"a":{"b":1}}]]]]]]]]]]}"#,
    r#"{"10":1,"9":2,"1":3,"01":4}"#,
    r#"{"a":1,"\u0061":2,"a":3}"#,
];

pub(super) async fn what_jsonb_gives_back_is_the_same_object(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for text in OBJECTS {
        let given_back = shop.books.texts("select $1::text::jsonb::text", &[&text]).await?.remove(0);
        assert_eq!(canonical(&given_back)?, canonical(text)?, "{text} comes back as {given_back}");
        let kept = shop.books.texts("select $1::text::jsonb::text", &[&canonical(text)?.as_ref()]).await?.remove(0);
        assert_eq!(kept, given_back, "nothing of {text} is lost");
    }
    Ok(())
}

pub(super) async fn an_order_whose_object_is_spelled_otherwise_is_unchanged(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let line = |number: usize, object: &str| {
        let order = order(number as u64, "2026-01-31").to_string();
        format!("{},\"raw_payload\":{object}}}", order.trim_end_matches('}'))
    };
    let one_line = |text: &str| text.replace(['\r', '\n'], " ");
    let sent = OBJECTS.iter().enumerate().map(|(number, object)| line(number, &one_line(object)));
    let (_, status) = shop.send(&[File::new("orders.ndjson", lines(sent))]).await?;
    assert_eq!(counts(&status), [24, 24, 0, 0, 0]);

    let stored = shop.books.texts("select raw_payload::text from orders order by order_id", &[]).await?;
    let given_back = stored.iter().enumerate().map(|(number, object)| line(number, object));
    let (_, status) = shop.send(&[File::new("orders.ndjson", lines(given_back))]).await?;
    assert_eq!(counts(&status), [24, 0, 0, 24, 0]);

    let changed = line(0, r#"{"a":1}"#);
    let (_, status) = shop.send(&[File::new("orders.ndjson", lines([changed, line(1, &stored[1])]))]).await?;
    assert_eq!(counts(&status), [2, 0, 1, 1, 0]);
    Ok(())
}
