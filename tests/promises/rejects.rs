//! Rejects are complete, stand where they say, and can be sent again.

use crate::support::{File, Ground, Shop, at, counts, id, item, lines, order};
use anyhow::{Context, Result};
use intake_domain::reject::Code;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// The file: every third line of it is bad, each in the next way.
const LINES: u64 = 3_000;

/// A line that is refused, with its first code and where that points.
type Bad = (Vec<u8>, Code, &'static str);

/// A way to be a bad order.
type Way = fn(Value) -> Bad;

fn field(row: Value, field: &'static str, value: impl Into<Value>, code: Code) -> (Vec<u8>, Code, &'static str) {
    let pointer = field;
    (at(row, field, value).to_string().into_bytes(), code, pointer)
}

fn without(mut row: Value, field: &'static str) -> Bad {
    row.as_object_mut().map(|row| row.remove(field));
    (row.to_string().into_bytes(), Code::MissingField, field)
}

/// The order with this text in place of its payload.
fn payload(row: Value, text: &str) -> Bad {
    let row = at(row, "raw_payload", "$").to_string().replace("\"$\"", text);
    (row.into_bytes(), Code::InvalidObject, "raw_payload")
}

const WAYS: &[Way] = &[
    |row| {
        let line = row.to_string().into_bytes();
        (line.into_iter().map(|byte| if byte == b'R' { 0xff } else { byte }).collect(), Code::InvalidUtf8, "")
    },
    |row| (row.to_string().replace('}', ",}").into_bytes(), Code::InvalidJson, ""),
    |row| (row.to_string().replace("ORD", "O\0D").into_bytes(), Code::InvalidJson, ""),
    |row| {
        (
            row.to_string().replace('}', ",\"currency\":\"USD\",\"currency\":\"EUR\"}").into_bytes(),
            Code::InvalidJson,
            "",
        )
    },
    |row| (format!("[{row}]").into_bytes(), Code::NotAnObject, ""),
    |_| (b"null".to_vec(), Code::NotAnObject, ""),
    |row| without(row, "external_order_id"),
    |row| field(row, "order_date", Value::Null, Code::MissingField),
    |row| field(row, "total_amount", true, Code::WrongType),
    |row| field(row, "external_order_id", "", Code::EmptyText),
    |row| field(row, "external_order_id", "ü".repeat(101), Code::TooLong),
    |row| field(row, "customer_name_snapshot", "a\0b", Code::NulCharacter),
    |row| field(row, "order_id", "42", Code::InvalidUuid),
    |row| field(row, "total_amount", "12,50", Code::InvalidDecimal),
    |row| field(row, "total_amount", -0.01, Code::OutOfRange),
    |row| field(row, "total_amount", "1e999", Code::OutOfRange),
    |row| field(row, "order_date", "01/02/2026", Code::InvalidTimestamp),
    |row| field(row, "currency", "EURO", Code::InvalidCurrency),
    |row| field(row, "order_status", "lost", Code::InvalidChoice),
    |row| field(row, "raw_payload", json!({"s": "\0"}), Code::InvalidObject),
    |row| payload(row, r#"{"n": 1e999}"#),
    |row| payload(row, &format!("{{\"deep\": {}1{}}}", "[".repeat(40), "]".repeat(40))),
    |row| field(row, "tenant_id", id(0).to_string(), Code::TenantMismatch),
    |row| field(row, "external_order_id", "ORD-1", Code::NaturalKeyTaken),
];

/// An order of which every value is good.
fn good(number: u64) -> Value {
    order(number, if number.is_multiple_of(2) { "2026-01-31" } else { "2026-03-01" })
}

pub(super) async fn every_refused_line_is_told_with_its_place(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mut orders = Vec::new();
    let mut expected = Vec::new();
    let mut bad = 0;
    for number in 1..=LINES {
        let place = (number as usize, orders.len());
        if number % 3 == 0 {
            let (line, code, field) = if number == LINES {
                // once, because it is long: deeper than any stack
                payload(good(number), &format!("{{\"deep\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000)))
            } else {
                WAYS[bad % WAYS.len()](good(number))
            };
            bad += 1;
            orders.extend_from_slice(&line);
            let pointer = if field.is_empty() { String::new() } else { format!("/{field}") };
            expected.push(("orders.ndjson", place, line, code, pointer));
        } else if number % 50 != 1 || number == 1 {
            orders.extend_from_slice(good(number).to_string().as_bytes());
        }
        orders.extend_from_slice(if number % 7 == 0 { b"\r\n" } else { b"\n" });
    }
    let blank = (1..=LINES).filter(|number| number % 3 != 0 && number % 50 == 1 && *number != 1).count();
    let half = at(item(1), "quantity", 1.5).to_string();
    expected.push((
        "order_items.ndjson",
        (1, 0),
        half.clone().into_bytes(),
        Code::InvalidInteger,
        "/quantity".to_owned(),
    ));
    let files =
        [File::new("orders.ndjson", orders), File::new("order_items.ndjson", lines([half, item(2).to_string()]))];
    let (session, status) = shop.send(&files).await?;
    let (rows, refused) = ((LINES as usize - blank + 2) as i64, expected.len() as i64);
    assert_eq!(counts(&status), [rows, rows - refused, 0, 0, refused]);

    let rejects = shop.rejects(&session, 1000).await?;
    assert_eq!(rejects.len(), expected.len());
    for (reject, (file, (line, offset), text, code, pointer)) in rejects.iter().zip(&expected) {
        let found = (reject.file.as_str(), reject.line, reject.byte_offset, reject.errors[0].code);
        assert_eq!(found, (*file, *line, *offset, *code), "{reject:?}");
        assert_eq!(&reject.errors[0].pointer, pointer);
        let bytes = &files.iter().find(|sent| sent.name == *file).context("a file")?.bytes;
        assert!(bytes[reject.byte_offset..].starts_with(text), "the file has the line where the reject says");
        // an object stands as it was sent; what is none, or cannot be read, as a string
        let sent = String::from_utf8_lossy(text).replace('\0', "\u{fffd}");
        let record = reject.record.get();
        if record.starts_with('{') {
            assert!(![Code::InvalidUtf8, Code::InvalidJson].contains(code), "{record}");
            assert_eq!(record, sent);
        } else {
            assert_eq!(serde_json::from_str::<String>(record)?, sent);
        }
    }
    let seen: HashSet<_> = rejects.iter().map(|reject| reject.errors[0].code.as_str()).collect();
    let missing: Vec<_> = Code::ALL.iter().map(|(code, ..)| *code).filter(|c| !seen.contains(c.as_str())).collect();
    let formats = [Code::LineTooLong, Code::ColumnCount, Code::UnbalancedQuote];
    let stock = [Code::ExclusiveFields, Code::ClockSkew, Code::ExpectedLevel, Code::NegativeLevel, Code::LevelTooHigh];
    let lots = [Code::ProductConflict, Code::SuspectPrice, Code::MissingReference];
    let elsewhere = [&formats[..], &stock, &lots].concat();
    assert_eq!(missing, elsewhere, "they have tests of their own");

    let by_sevens = shop.rejects(&session, 7).await?;
    let told = |rejects: &[_]| rejects.iter().map(|reject| format!("{reject:?}")).collect::<Vec<_>>();
    assert!(told(&by_sevens) == told(&rejects), "pages of any size give the same list");
    Ok(())
}

pub(super) async fn fixed_rejects_can_be_sent_as_they_are(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let sent = WAYS.iter().zip(1..).map(|(way, number)| way(good(number)).0);
    let first = File::new("orders.ndjson", sent.flat_map(|line| [line, b"\n".to_vec()].concat()).collect::<Vec<_>>());
    let (session, status) = shop.send(&[first]).await?;
    // the last way takes a natural key that no order has here
    let refused = WAYS.len() as i64 - 1;
    assert_eq!(counts(&status), [refused + 1, 1, 0, 0, refused]);

    let told = shop.get(&format!("/api/v1/ingest/sessions/{}/rejects", session.token)).await?.text;
    let told: Vec<&str> = told.lines().filter(|line| !line.starts_with("{\"_meta\"")).collect();
    let (again, status) = shop.send(&[File::new("orders_again.ndjson", lines(&told))]).await?;
    assert_eq!(counts(&status), [refused, 0, 0, 0, refused], "what is not fixed is refused again");
    let codes =
        |rejects: Vec<crate::support::Reject>| rejects.into_iter().map(|r| r.errors[0].code).collect::<Vec<_>>();
    let objects = |code: &Code| ![Code::InvalidUtf8, Code::InvalidJson, Code::NotAnObject].contains(code);
    let (first, second) = (codes(shop.rejects(&session, 100).await?), codes(shop.rejects(&again, 100).await?));
    assert_eq!(
        first.into_iter().filter(objects).collect::<Vec<_>>(),
        second.into_iter().filter(objects).collect::<Vec<_>>()
    );

    // in each line the record alone is mended, as by hand
    let fixed = told.iter().map(|line| {
        let (start, _) = line.split_once("\"record\":")?;
        let number = start.split_once("\"line\":")?.1.split(',').next()?.parse::<u64>().ok()?;
        Some(format!("{start}\"record\":{}}}", good(1_000 + number)))
    });
    let fixed = fixed.collect::<Option<Vec<_>>>().context("lines of rejects")?;
    let (_, status) = shop.send(&[File::new("orders_fixed.ndjson", lines(fixed))]).await?;
    assert_eq!(counts(&status), [refused, refused, 0, 0, 0]);
    Ok(())
}

pub(super) async fn all_rejects_come_in_one_answer(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let files = ["customers.ndjson", "orders.ndjson"].map(|name| File::new(name, "{}\n".repeat(1_200)));
    let (session, _) = shop.send(&files).await?;
    let path = format!("/api/v1/ingest/sessions/{}/rejects", session.token);
    let read = async |query: &str| -> Result<(Vec<Value>, Value)> {
        let text = shop.get(&format!("{path}{query}")).await?.text;
        let mut lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let end = lines.pop().unwrap_or_default();
        Ok((lines, end["_meta"].clone()))
    };
    let (all, meta) = read("").await?;
    assert_eq!(meta, json!({"next_cursor": null, "rejects": 2_400, "complete": true}));
    let places: HashSet<_> = all.iter().map(|reject| (reject["file"].as_str(), reject["line"].as_i64())).collect();
    assert_eq!((all.len(), places.len()), (2_400, 2_400));
    // what follows a limit follows in the same order
    let (first, meta) = read("?limit=1300").await?;
    let cursor = meta["next_cursor"].as_str().unwrap_or_default();
    let (rest, meta) = read(&format!("?cursor={cursor}")).await?;
    assert_eq!((first.len(), &meta["next_cursor"]), (1_300, &Value::Null));
    assert!([first, rest].concat() == all);
    Ok(())
}
