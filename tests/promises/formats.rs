//! CSV, gzip and zstd: the same rows in any dress, and bytes that are not what they say.

use crate::support::{CHUNK_BYTES, File, Ground, Shop, at, counts, customer, file_named, id, lines, ndjson, product};
use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use intake_domain::chunk::MAX_LINE_BYTES;
use intake_domain::reject::Code;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

/// A product's record with quotes, commas and newlines in it.
fn record(number: u64) -> String {
    format!("19.99,\"Tea, \"\"green\"\"\nno. {number}\",{},\"{{\"\"unknown\"\": 1}}\",SKU-{number},\r\n", id(number))
}

pub(super) async fn the_same_rows_in_any_format_are_the_same(ground: Arc<Ground>) -> Result<()> {
    let rows = 0..120;
    let csv = format!("price,name,product_id,extra,sku,active\r\n{}", rows.clone().map(record).collect::<String>());
    let name = |number: u64| format!("Tea, \"green\"\nno. {number}");
    let json = ndjson(rows.map(|number| at(product(number), "name", name(number))));
    let halves = |bytes: &[u8], pack: fn(&[u8]) -> Vec<u8>| {
        let (first, second) = bytes.split_at(bytes.len() / 2 + 7);
        [pack(first), pack(second)].concat()
    };
    assert!(csv.len() > 3 * CHUNK_BYTES);
    let shop = Shop::open(&ground).await?;
    let first = File::new("products.ndjson", json.clone());
    let (_, status) = shop.send(&[first]).await?;
    assert_eq!(counts(&status), [120, 120, 0, 0, 0]);
    for (name, bytes) in [
        ("products.csv", csv.clone().into_bytes()),
        ("products.csv.gz", halves(csv.as_bytes(), gzip)),
        ("products.csv.zst", halves(csv.as_bytes(), zstd)),
        ("products.ndjson.gz", halves(&json, gzip)),
        ("products.jsonl.zst", halves(&json, zstd)),
    ] {
        let (_, status) = shop.send(&[File::new(name, bytes)]).await?;
        assert_eq!(counts(&status), [120, 0, 0, 120, 0], "{name}: all unchanged");
        let chunks = status["files"][0]["chunks"]["total"].as_i64().context("chunks")?;
        assert!(chunks > 3, "{name} is cut, into {chunks}");
    }
    Ok(())
}

pub(super) async fn rejects_of_csv_say_their_line_and_can_be_sent_again(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mut csv = String::from("\u{feff}product_id,sku,name,price,active\n");
    let mut expected = Vec::new();
    let mut line = 2;
    for number in 0..200_u64 {
        let (id, sku) = (id(number), format!("S-{number}"));
        let (record, code) = match number % 10 {
            1 => (format!("{id},{sku},\"two\nlines\",x,true"), Some(Code::InvalidDecimal)),
            3 => (format!("{id},{sku},short"), Some(Code::ColumnCount)),
            7 => (format!("{id},{sku},n,1.00,maybe"), Some(Code::WrongType)),
            // a natural key that another id has: only promotion can tell
            9 => (format!("{id},S-0,n,1.00,1"), Some(Code::NaturalKeyTaken)),
            _ => (format!("{id},{sku},\"a \"\"b\"\"\",1.00,TRUE"), None),
        };
        expected.extend(code.map(|code| (line, csv.len(), code)));
        line += 1 + record.matches('\n').count();
        csv.push_str(&record);
        csv.push('\n');
    }
    // a quote that is never closed costs its line, and not those after it
    expected.push((line, csv.len(), Code::UnbalancedQuote));
    csv.push_str("5,\"stray,1\n");
    csv.push_str(&format!("{},S-LAST,after it,1.00,false\n", id(900)));
    for (name, bytes) in [("products.csv", csv.clone().into_bytes()), ("products.csv.gz", gzip(csv.as_bytes()))] {
        let shop = Shop::open(&ground).await?;
        let (session, status) = shop.send(&[File::new(name, bytes)]).await?;
        let refused = expected.len() as i64;
        assert_eq!(counts(&status), [202, 202 - refused, 0, 0, refused], "{name}");
        let rejects = shop.rejects(&session, 1_000).await?;
        let found: Vec<_> =
            rejects.iter().map(|reject| (reject.line, reject.byte_offset, reject.errors[0].code)).collect();
        assert_eq!(found, expected, "{name}");
    }
    // what was a record comes as an object, and mended it goes in
    let (session, _) = shop.send(&[File::new("products.csv", csv)]).await?;
    let rejects = shop.rejects(&session, 1_000).await?;
    let mended = rejects.iter().filter(|reject| reject.errors[0].code == Code::InvalidDecimal).map(|reject| {
        let record: Value = serde_json::from_str(reject.record.get()).expect("an object");
        assert_eq!((&record["name"], &record["active"]), (&"two\nlines".into(), &true.into()));
        json!({"errors": [], "record": at(record, "price", "7.50")})
    });
    let (_, status) = shop.send(&[File::new("products_mended.ndjson", lines(mended))]).await?;
    assert_eq!(counts(&status), [20, 20, 0, 0, 0]);
    Ok(())
}

pub(super) async fn a_file_that_is_not_what_it_says_fails_by_name(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = ndjson((0..300).map(customer));
    let packed = gzip(&rows);
    let mut damaged = packed.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 8].fill(0x55);
    // a thousandth of that when it is packed
    let bomb = gzip(&vec![b'x'; 80 << 20]);
    let files = [
        ("customers_1.ndjson.gz", rows.clone(), "FORMAT_MISMATCH"),
        ("customers_2.ndjson", packed.clone(), "FORMAT_MISMATCH"),
        ("customers_3.csv.zst", packed.clone(), "FORMAT_MISMATCH"),
        ("customers_4.ndjson.gz", packed[..packed.len() - 20].to_vec(), "CORRUPT_COMPRESSION"),
        ("customers_5.ndjson.gz", damaged, "CORRUPT_COMPRESSION"),
        ("customers_6.ndjson.zst", zstd(&rows)[..100].to_vec(), "CORRUPT_COMPRESSION"),
        ("customers_7.ndjson.gz", bomb, "SUSPICIOUS_COMPRESSION"),
        ("customers_8.csv", rows.clone(), "INVALID_HEADER"),
        ("customers_9.csv", b"customer_id,name\n".to_vec(), "INVALID_HEADER"),
        ("customers_10.csv", b"customer_id,name,email,email\n1,2,3,4\n".to_vec(), "INVALID_HEADER"),
        ("customers_11.csv.gz", gzip(b"\xff\xfe\n"), "INVALID_HEADER"),
    ];
    let sent = files.clone().map(|(name, bytes, _)| File::new(name, bytes));
    let session = shop.declare(&sent).await?;
    shop.upload(&session, &sent).await?;
    let status = shop.ended(&session).await?;
    assert_eq!(status["state"], "failed");
    for (name, _, code) in files {
        let file = file_named(&status, name);
        assert_eq!((&file["state"], &file["error"]["code"]), (&"failed".into(), &code.into()), "{name}: {file:#}");
        assert_eq!(file["error"]["resumable"], false);
        assert!(file["error"]["detail"].as_str().is_some_and(|detail| detail.len() > 15), "{file:#}");
    }
    assert_eq!(shop.books.rows().await?["customers"], 0);
    Ok(())
}

pub(super) async fn nothing_is_a_file_in_any_format(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let header = b"customer_id,name,email\n";
    let files = [
        File::new("customers_1.csv", Vec::new()),
        File::new("customers_2.csv", header.to_vec()),
        File::new("customers_3.csv", b"\n\r\n\n".to_vec()),
        File::new("customers_4.ndjson.gz", Vec::new()),
        File::new("customers_5.ndjson.gz", gzip(b"")),
        File::new("customers_6.csv.zst", zstd(header)),
        File::new("customers_7.ndjson.zst", zstd(b"")),
    ];
    let (_, status) = shop.send(&files).await?;
    assert_eq!((&status["state"], counts(&status)), (&"completed".into(), [0; 5]));
    Ok(())
}

pub(super) async fn a_record_without_an_end_is_refused_in_bounded_memory(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let endless = vec![b'x'; 3 * MAX_LINE_BYTES];
    let around = |before: &[u8], after: &[u8]| [before, &endless, b"\n", after].concat();
    let json = around(&ndjson([customer(1)]), &ndjson([customer(2)]));
    let csv = |number: u64| format!("{},c{number}@csv.example,Ada\n", id(number)).into_bytes();
    let csv = around(&[b"customer_id,email,name\n".to_vec(), csv(11)].concat(), &csv(12));
    let files = [
        File::new("customers_1.ndjson.gz", gzip(&json)),
        File::new("customers_2.csv", csv.clone()),
        File::new("customers_3.csv.zst", zstd(&csv)),
    ];
    let session = shop.declare(&files).await?;
    shop.upload(&session, &files).await?;
    let status = shop.ended(&session).await?;
    assert_eq!(counts(file_named(&status, "customers_1.ndjson.gz")), [3, 2, 0, 0, 1]);
    assert_eq!(counts(file_named(&status, "customers_2.csv")), [3, 2, 0, 0, 1]);
    assert_eq!(counts(file_named(&status, "customers_3.csv.zst")), [3, 0, 0, 2, 1]);
    for reject in shop.rejects(&session, 10).await? {
        assert_eq!(reject.errors[0].code, Code::LineTooLong);
        assert_eq!(reject.line, if reject.file.contains("csv") { 3 } else { 2 });
        assert!(reject.record.get().len() < 100_000, "what is kept of it is short");
    }
    Ok(())
}
