//! From bytes to lines: what a file may look like, and where chunks may cut it.

use crate::support::{
    CHUNK_BYTES, Encrypted, File, Ground, Shop, at, counts, customer, file_named, lines, ndjson, object_created,
    product,
};
use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use intake_domain::chunk::MAX_LINE_BYTES;
use intake_domain::reject::Code;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Rows in each file of the test below, enough for three chunks.
const ROWS: u64 = 45;

pub(super) async fn a_row_may_lie_across_a_chunk_edge_at_every_offset(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let row = |file: u64, row: u64| product(1_000_000 + file * 1_000 + row);
    let row_bytes = row(0, 0).to_string().len() + 1;
    let files: Vec<_> = (0..row_bytes as u64)
        .map(|shift| {
            let first = at(row(shift, 0), "name", "x".repeat(shift as usize + 1));
            let file = File::new(
                format!("products_{shift}.ndjson"),
                ndjson([first].into_iter().chain((1..ROWS).map(|n| row(shift, n)))),
            );
            assert!(file.bytes.len() > 2 * CHUNK_BYTES, "three chunks");
            file
        })
        .collect();
    let (_, status) = shop.send(&files).await?;
    let rows = (files.len() as u64 * ROWS) as i64;
    assert_eq!(counts(&status), [rows, rows, 0, 0, 0]);
    assert_eq!(shop.books.rows().await?["products"], rows);
    Ok(())
}

pub(super) async fn a_line_over_a_mebibyte_is_refused_alone(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let line_of = |number: u64, length: usize| {
        let row = at(customer(number), "unknown", "");
        let padding = length - row.to_string().len();
        at(row, "unknown", "x".repeat(padding)).to_string()
    };
    let (longest, too_long) = (line_of(2, MAX_LINE_BYTES), line_of(3, MAX_LINE_BYTES + 1));
    let file = File::new(
        "customers.ndjson",
        lines([customer(1).to_string(), longest, String::new(), too_long.clone(), customer(4).to_string()]),
    );
    let (session, status) = shop.send(std::slice::from_ref(&file)).await?;
    assert_eq!(counts(&status), [4, 3, 0, 0, 1]);
    let rejects = shop.rejects(&session, 10).await?;
    assert_eq!(rejects.len(), 1);
    assert_eq!((rejects[0].line, rejects[0].errors[0].code), (4, Code::LineTooLong));
    assert!(file.bytes[rejects[0].byte_offset..].starts_with(too_long.as_bytes()));
    Ok(())
}

pub(super) async fn a_file_has_the_rows_that_its_lines_say(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let row = |number: u64| customer(number).to_string();
    let files = [
        ("customers_one.ndjson", format!("{}\n", row(1)), 1),
        ("customers_none.ndjson", String::new(), 0),
        ("customers_unended.ndjson", format!("{}\n{}", row(2), row(3)), 2),
        ("customers_crlf.ndjson", format!("{}\r\n{}\r\n", row(4), row(5)), 2),
        ("customers_bom.ndjson", format!("\u{feff}{}\n{}\n", row(6), row(7)), 2),
        ("customers_blank.ndjson", format!("\n \t\n{}\n\r\n\n{}\n\n", row(8), row(9)), 2),
        ("customers_newlines.ndjson", "\n".repeat(2 * CHUNK_BYTES + 1), 0),
        ("customers_lone.ndjson", row(10), 1),
    ];
    let sent = files.clone().map(|(name, text, _)| File::new(name, text));
    let (session, status) = shop.send(&sent).await?;
    assert_eq!(status["state"], "completed");
    for (name, _, rows) in files {
        assert_eq!(counts(file_named(&status, name)), [rows, rows, 0, 0, 0], "{name}");
    }
    assert_eq!(shop.books.rows().await?["customers"], 10);
    assert!(shop.rejects(&session, 10).await?.is_empty());
    Ok(())
}

/// Where a key of KMS encrypts them, the same bytes have another version each time that they are written.
pub(super) async fn pieces_that_two_have_cut_are_read_whatever_their_versions(ground: Arc<Ground>) -> Result<()> {
    let (line, functions) = (Encrypted::open(&ground).await?, ["PlanFile", "LoadChunk", "PromoteFile"]);
    for function in functions {
        ground.set_variable(function, "AWS_ENDPOINT_URL_S3", Some(&line.url)).await?;
    }
    let done = two_cut_a_packed_file(&ground).await;
    // what is at work when the function changes would die
    ground.drained().await?;
    for function in functions {
        ground.set_variable(function, "AWS_ENDPOINT_URL_S3", None).await?;
    }
    done
}

async fn two_cut_a_packed_file(ground: &Arc<Ground>) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(&ndjson((0..600).map(customer)))?;
    let file = File::new("customers.ndjson.gz", packed.finish()?);
    // one begins, and cuts when the other one has, but before anybody has read what that one cut
    ground.arm("plan-file.before-piece", shop.id, "sleep 4000")?;
    ground.arm("load-chunk.before-read", shop.id, "sleep 8000")?;
    let session = shop.declare(std::slice::from_ref(&file)).await?;
    shop.upload(&session, &[file]).await?;
    while ground.armed("plan-file.before-piece", shop.id).is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(ground.deliver("PlanFile", &object_created(shop.id, session.id, session.file_id(0))?).await?);
    let status = shop.finished(&session).await?;
    ensure!(counts(&status) == [600, 600, 0, 0, 0], "{status:#}");
    let chunks = shop.books.texts("select chunk_index::text from chunks", &[]).await?;
    ensure!(chunks.len() > 1, "{chunks:?}");
    Ok(())
}
