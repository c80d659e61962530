//! Functions die anywhere.

use crate::support::{CHUNK_BYTES, File, Ground, Shop, at, counts, ndjson, product};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often: a message is given up after five deliveries.
const KILLS: usize = 3;

pub(super) async fn a_killed_function_loses_and_doubles_nothing(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    // every row is sent twice, so that what is done twice would show in the counts
    let rows = (0..2_700).map(product).chain((0..2_700).map(|number| at(product(number), "name", "twice")));
    let file = File::new("products.ndjson", ndjson(rows));
    assert!(file.bytes.len() > 250 * CHUNK_BYTES);
    // what a dead function held comes back soon, and not after six times its longest run
    let soon = ["chunks", "promotions"].map(|queue| (queue.to_owned(), "3".to_owned()));
    let before = ground.hide_for(&BTreeMap::from(soon)).await?;

    let session = shop.declare(std::slice::from_ref(&file)).await?;
    shop.upload(&session, &[file]).await?;
    let mut killed = 0;
    for (phase, wanted) in [("loading", KILLS), ("promoting", 2 * KILLS)] {
        while killed < wanted {
            let status = shop.status(&session).await?;
            let state = status["state"].as_str().context("a state")?.to_owned();
            if !["awaiting_upload", "uploaded", "loading", phase].contains(&state.as_str()) {
                break;
            }
            let pids = ["load-chunk", "promote-file"].map(|binary| ground.processes(binary)).concat();
            if state == phase && !pids.is_empty() {
                for pid in pids.into_iter().filter_map(Pid::from_raw) {
                    kill_process(pid, Signal::KILL).ok(); // it may have ended by itself
                }
                killed += 1;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
    assert!(killed >= KILLS, "only {killed} times");
    let status = shop.finished(&session).await?;
    ground.hide_for(&before).await?;
    assert_eq!((&status["state"], counts(&status)), (&"completed".into(), [5_400, 2_700, 2_700, 0, 0]));
    assert_eq!(shop.books.texts("select distinct name::text from products", &[]).await?, ["twice"]);
    assert_eq!(ground.dead_letters().await?, 0);
    Ok(())
}
