//! The operator's command fetches what the API exports.

use crate::support::{File, Ground, Shop, ndjson, order};
use anyhow::{Context, Result, ensure};
use intake::api::Api;
use intake::commands::export::fetch;
use intake::downloads::Note;
use intake::output::Output;
use serde_json::json;
use serde_json::value::to_raw_value;
use std::sync::Arc;
use std::time::Duration;

pub(super) async fn an_interrupted_export_goes_on_as_the_same(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    shop.send(&[File::new("orders.ndjson", ndjson((0..90).map(|number| order(number, "2026-01-31"))))]).await?;
    let api = Api::new(&ground.endpoints.api_url, shop.key.as_str())?;
    let folder = ground.logs().with_file_name("tmp").join(shop.id.to_string());
    let (out, output) = (folder.join("orders.ndjson"), Output::new(true));
    std::fs::create_dir_all(&folder)?;
    let wanted =
        to_raw_value(&json!({"dataset": "orders", "format": "json", "columns": ["order_id", "total_amount"]}))?;

    // the command dies while the file is written
    ground.arm("run-export.claimed", shop.id, "sleep 2000")?;
    let first = fetch(&api, shop.id, &wanted, &out, Note::hold(&folder, &out)?, &output);
    ensure!(tokio::time::timeout(Duration::from_millis(1_500), first).await.is_err(), "it had no time");
    let (export, manifest) = fetch(&api, shop.id, &wanted, &out, Note::hold(&folder, &out)?, &output).await?;
    assert_eq!((manifest.rows, shop.books.texts("select export_id::text from exports", &[]).await?.len()), (90, 1));
    let text = std::fs::read_to_string(&out)?;
    assert_eq!((text.lines().count(), text.len() as u64), (90, manifest.bytes));

    // once it is there, the same command orders another
    let (second, again) = fetch(&api, shop.id, &wanted, &out, Note::hold(&folder, &out)?, &output).await?;
    ensure!(second != export && again.sha256 == manifest.sha256, "{second:?}");
    // what is ordered wrongly says so, and nothing is left behind
    let wrong = to_raw_value(&json!({"dataset": "orders", "format": "csv", "columns": ["order_idd"]}))?;
    let other = folder.join("wrong");
    let refused = fetch(&api, shop.id, &wrong, &other, Note::hold(&folder, &other)?, &output).await;
    let refused = refused.err().context("a refusal")?;
    ensure!(format!("{refused:#}").contains("/columns/0"), "{refused:#}");
    ensure!(!other.exists());
    Ok(())
}
