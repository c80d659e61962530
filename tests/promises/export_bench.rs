//! How fast orders are taken out, against `COPY TO` of the same rows in the same run, and in how much memory. It is measured
//! and promises nothing but the memory: a machine is as busy as it is.
//!
//! `INTAKE_EXPORT_BENCH=1 cargo test -p intake-tests --test stack -- export_bench`

use super::exports::{ended, ordered};
use crate::support::{Ground, Shop, Sink};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::TryStreamExt;
use intake_aws::Objects;
use intake_domain::export::PREFIX;
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tokio_postgres::Client;

/// How many orders there are unless `INTAKE_EXPORT_ORDERS` says so.
const ORDERS: u64 = 1_000_000;

/// What the function may take, in MiB, whatever the number of rows.
pub(super) const MAX_MIB: u64 = 128;

/// Orders of three years, each like one of the demo's.
const FILL: &str = "insert into orders
    select current_setting('app.tenant_id')::uuid, gen_random_uuid(), 'ORD-' || number, gen_random_uuid(),
        'Customer ' || number % 10000, 'customer' || number % 10000 || '@shop.example', (random() * 1000)::numeric(12, 2),
        'USD', (array['pending', 'shipped', 'delivered'])[1 + number % 3], now() - random() * interval '1000 days',
        '{\"source\": \"web\", \"campaign\": null, \"discount_code\": null}', now()
    from generate_series($1::bigint, $2::bigint) as number";

const PART_BYTES: usize = 8 << 20;

const COLUMNS: &str = "order_id, external_order_id, customer_id, customer_name_snapshot, customer_email_snapshot,
    total_amount, currency, order_status, order_date, raw_payload, created_at";

/// How long `COPY TO` takes for all rows, and how many bytes come.
async fn copied(client: &Client, select: &str) -> Result<(f64, usize)> {
    let since = Instant::now();
    let mut rows = pin!(client.copy_out(&format!("copy ({select}) to stdout (format csv)")).await?);
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.len();
    }
    Ok((since.elapsed().as_secs_f64(), bytes))
}

/// How long the emulator takes for an object of so many bytes when there is nothing else to do: for its parts, and to put them
/// together, which it does alone, once all have arrived, and S3 for itself.
async fn kept(ground: &Ground, bytes: usize) -> Result<(f64, f64)> {
    let objects = Objects::new(&ground.aws, ground.endpoints.bucket.clone());
    let key = format!("{PREFIX}bench");
    let upload_id = objects.begin_multipart(&key).await?;
    let since = Instant::now();
    let (part, mut parts) = (Bytes::from(vec![b'x'; PART_BYTES]), Vec::new());
    for (number, from) in (1..).zip((0..bytes).step_by(PART_BYTES)) {
        let part = part.slice(..PART_BYTES.min(bytes - from));
        parts.push(objects.put_part(&key, &upload_id, number, part).await?);
    }
    let sent = since.elapsed().as_secs_f64();
    objects.complete_multipart(&key, &upload_id, parts).await?;
    Ok((sent, since.elapsed().as_secs_f64() - sent))
}

/// The most memory that processes of a function have taken, in MiB.
pub(super) fn peak_mib(ground: &Ground, binary: &str) -> u64 {
    let of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    ground.processes(binary).into_iter().filter_map(of).max().unwrap_or_default() / 1024
}

fn seconds(status: &Value) -> Result<f64> {
    let at = |name: &str| -> Result<jiff::Timestamp> { Ok(status[name].as_str().context("a time")?.parse()?) };
    Ok(at("finished_at")?.duration_since(at("started_at")?).as_secs_f64())
}

pub(super) async fn how_fast_orders_are_taken_out(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let count = std::env::var("INTAKE_EXPORT_ORDERS").ok().and_then(|count| count.parse().ok()).unwrap_or(ORDERS);
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    owner.execute("select set_config('app.tenant_id', $1, false)", &[&shop.id.to_string()]).await?;
    for from in (1..=count).step_by(100_000) {
        let to = (from + 99_999).min(count);
        owner.execute(FILL, &[&(from as i64), &(to as i64)]).await?;
    }
    owner.batch_execute("vacuum analyze orders").await?;
    let rows = count as f64;
    let by = "order by order_date, order_id";
    let (csv, csv_bytes) = copied(&owner, &format!("select {COLUMNS} from orders {by}")).await?;
    let (bare, _) = copied(&owner, &format!("select {COLUMNS} from orders")).await?;
    let select = format!("select row_to_json(rows) from (select {COLUMNS} from orders {by}) as rows");
    let (lines, _) = copied(&owner, &select).await?;
    println!("{count} orders, {} MiB of CSV", csv_bytes >> 20);
    println!("COPY TO, csv, in order      {:9.0} rows/s", rows / csv);
    println!("COPY TO, csv, in no order   {:9.0} rows/s", rows / bare);
    println!("COPY TO, row_to_json        {:9.0} rows/s", rows / lines);
    let (sent, put_together) = kept(&ground, csv_bytes).await?;
    println!("the emulator alone, as many bytes: {sent:.1} s for the parts, {put_together:.1} s to put them together");
    let exported = async |format: &str, compression: &str, against: f64| {
        let body = json!({"format": format, "compression": compression});
        let status = ended(&shop, ordered(&shop, &body).await?).await?;
        ensure!(status["manifest"]["rows"] == count, "{status:#}");
        let (took, bytes) = (seconds(&status)?, status["bytes_done"].as_u64().context("bytes")?);
        println!(
            "{format:8} {compression:5} {:9.0} rows/s in {took:.1} s, {:.2} of COPY TO, {:6} MiB; peak {} MiB",
            rows / took,
            against / took,
            bytes >> 20,
            peak_mib(&ground, "run-export"),
        );
        Ok(bytes)
    };
    let sorts = [
        ("csv", "none", csv),
        ("json", "none", lines),
        ("csv", "zstd", csv),
        ("csv", "gzip", csv),
        ("parquet", "none", csv),
        ("csv", "none", csv),
        ("json", "none", lines),
    ];
    for (format, compression, against) in sorts {
        exported(format, compression, against).await?;
    }
    println!("into a store that takes all and keeps nothing:");
    let sink = Sink::open().await?;
    ground.set_variable("RunExport", "AWS_ENDPOINT_URL_S3", Some(&sink.url)).await?;
    for (format, compression, against) in sorts {
        let bytes = exported(format, compression, against).await?;
        ensure!(sink.bytes() == bytes, "what was sent is not what was told");
    }
    let peak = peak_mib(&ground, "run-export");
    ground.set_variable("RunExport", "AWS_ENDPOINT_URL_S3", None).await?;
    ensure!(peak > 0 && peak < MAX_MIB, "the function took {peak} MiB");
    Ok(())
}
