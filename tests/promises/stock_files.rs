//! Stock events in files: they lead where the same rows in requests lead.

use super::stock::update;
use crate::support::{Answer, Dice, File, Ground, Shop, counts, id, lines, ndjson, product};
use anyhow::{Context, Result, ensure};
use intake_aws::messages::PromoteFile;
use serde_json::{Value, json};
use std::sync::Arc;

/// Rows by chance: deltas, sets with their times, events seen before; few products, so that they meet.
fn rows(count: u64, seed: u64) -> Vec<Value> {
    let mut dice = Dice::new(seed);
    let row = |at: u64| {
        let mut row = json!({"product_id": id(dice.within(0..12)), "stock_event_id": id(1_000 + at)});
        match dice.within(0..10) {
            0 => row["stock_event_id"] = json!(id(1_000 + dice.within(0..count))),
            1 => row["source"] = json!("order"),
            _ => {}
        }
        if dice.chance(15) {
            row["set"] = json!(dice.within(0..20));
            row["event_time"] = json!(format!("2026-01-01T00:{:02}:00Z", dice.within(0..60)));
        } else {
            row["delta"] = json!(dice.within(0..20) as i64 - 10);
        }
        row
    };
    (0..count).map(row).collect()
}

pub(super) async fn a_file_leads_where_the_same_requests_lead(ground: Arc<Ground>) -> Result<()> {
    let (by_file, by_requests, dry) =
        (Shop::open(&ground).await?, Shop::open(&ground).await?, Shop::open(&ground).await?);
    let rows = rows(600, 3);
    let mut processed = [0; 4];
    for some in rows.chunks(47) {
        let answer = Answer::to(update(&by_requests, "", ndjson(some.to_vec()))).await?.json(200)?;
        for (sum, name) in processed.iter_mut().zip(["processed", "unchanged", "stale_ignored", "duplicates"]) {
            *sum += answer["counts"][name].as_i64().context("a count")?;
        }
    }
    let [processed, unchanged, stale, duplicates] = processed;
    ensure!(processed > 400 && stale > 10 && duplicates > 10, "{processed}, {stale}, {duplicates}");

    let file = [File::new("stock_events.ndjson", ndjson(rows.clone()))];
    let declared = json!({"dry_run": true, "files": [file[0].declared()]});
    let session = dry.create(&declared).await?;
    dry.upload(&session, &file).await?;
    let told = dry.finished(&session).await?;
    assert!(dry.books.levels().await?.is_empty(), "a dry run moves nothing");

    let (session, status) = by_file.send(&file).await?;
    assert_eq!(counts(&status), [600, processed + unchanged + stale, 0, duplicates, 0]);
    assert_eq!(counts(&told), counts(&status), "a dry run tells the same");
    ensure!(status["total_chunks"].as_i64().is_some_and(|chunks| chunks > 10), "{status:#}");
    let levels = by_file.books.levels().await?;
    assert_eq!(levels, by_requests.books.levels().await?);
    by_requests.books.levels_add_up().await?;

    // once more: by a message that comes twice, and as another file
    let message = PromoteFile { tenant_id: by_file.id, file_id: session.file_id(0) };
    ground.deliver("PromoteFile", &serde_json::to_string(&message)?).await?;
    let (_, again) = by_file.send(&file).await?;
    assert_eq!(counts(&again), [600, 0, 0, 600, 0]);
    assert_eq!(by_file.books.levels().await?, levels);
    // and what came in a file counts once in requests, too
    let again = Answer::to(update(&by_file, "", ndjson(rows.into_iter().take(100)))).await?.json(200)?;
    assert_eq!(again["counts"]["duplicates"], 100);
    Ok(())
}

pub(super) async fn events_that_cannot_apply_are_rejects_of_their_file(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let delta = |product: u64, delta: i64| json!({"product_id": id(product), "delta": delta});
    let filler = || (0..60).map(|at| delta(20 + at % 3, 1));
    let ahead = json!({"product_id": id(4), "set": 1, "event_time": "2999-01-01T00:00:00Z"});
    // chunks have 2 KiB: what stands behind the filler is in another
    let sent: Vec<_> = [delta(1, 5), delta(2, 5)]
        .into_iter()
        .chain(filler())
        .chain([delta(1, 1), json!({"product_id": id(1), "delta": 1, "expected": 99}), delta(2, 1), ahead])
        .chain(filler())
        .chain([delta(1, 1), delta(2, 1)])
        .collect();
    let file = [File::new("stock_events.ndjson", ndjson(sent.clone()))];
    let declared = |more: Value| {
        let mut session = json!({"files": [file[0].declared()]});
        session.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        session
    };
    let mut told = Vec::new();
    for more in [json!({"dry_run": true}), json!({"max_rejects": 2}), json!({})] {
        let session = shop.create(&declared(more)).await?;
        shop.upload(&session, &file).await?;
        let status = shop.finished(&session).await?;
        let codes = |reject: &crate::support::Reject| {
            (
                reject.line,
                reject
                    .errors
                    .iter()
                    .map(|error| format!("{} {}", error.code.as_str(), error.pointer))
                    .collect::<Vec<_>>(),
            )
        };
        let mut rejects: Vec<_> = shop.rejects(&session, 100).await?.iter().map(codes).collect();
        rejects.sort();
        told.push((status["state"].clone(), counts(&status), rejects));
        if status["state"] != "completed_with_errors" || status["dry_run"] == true {
            assert!(shop.books.levels().await?.is_empty(), "nothing of it is in");
        }
    }
    let due = [
        (63, "PRODUCT_CONFLICT /product_id"),
        (64, "EXPECTED_LEVEL /expected"),
        (66, "CLOCK_SKEW /event_time"),
        (127, "PRODUCT_CONFLICT /product_id"),
    ];
    let due: Vec<_> = due.map(|(line, error)| (line, vec![error.to_owned()])).into();
    assert_eq!(told[2], (json!("completed_with_errors"), [128, 124, 0, 0, 4], due.clone()));
    assert_eq!(told[0].1, told[2].1, "a dry run counts the same");
    assert_eq!(told[0].2, due);
    assert_eq!((&told[1].0, told[1].1[1], &told[1].2), (&json!("failed"), 0, &due), "with fewer rejects than it has");
    let levels = shop.books.levels().await?;
    assert_eq!([1, 2, 20].map(|product| levels[&id(product)]), [5, 7, 40]);
    // the refused rows, mended and sent as they are told, are the rest
    let mended = lines([delta(1, 1), delta(1, 1)]);
    let (_, status) = shop.send(&[File::new("stock_events.ndjson", mended)]).await?;
    assert_eq!((counts(&status)[1], shop.books.levels().await?[&id(1)]), (2, 7));
    Ok(())
}

pub(super) async fn a_dry_run_of_several_files_meets_what_they_would_leave(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let delta = |product: u64, delta: i64, number: u64| json!({"product_id": id(product), "delta": delta, "stock_event_id": id(number)});
    shop.send(&[File::new("stock_events_0.ndjson", ndjson([delta(1, 5, 1)]))]).await?;
    let expects = json!({"product_id": id(1), "delta": -1, "expected": 8, "stock_event_id": id(3)});
    let files = [
        File::new("stock_events_1.ndjson", ndjson([delta(1, 3, 2), delta(2, 1, 5), delta(1, 5, 1)])),
        // this one is undone, and the last meets nothing of it
        File::new(
            "stock_events_2.ndjson",
            ndjson([delta(1, 90, 9), json!({"product_id": id(2), "delta": 1, "expected": 9})]),
        ),
        File::new("stock_events_3.ndjson", ndjson([expects, delta(2, 1, 5), delta(1, 90, 9), product(1)])),
        File::new("products.ndjson", ndjson([product(2)])),
    ];
    let mut declared: Vec<_> = files.iter().map(File::declared).collect();
    declared[1]["max_rejects"] = json!(0);
    let mut told = Vec::new();
    for dry_run in [true, false] {
        let before = shop.books.levels().await?;
        let session = shop.create(&json!({"dry_run": dry_run, "files": declared})).await?;
        shop.upload(&session, &files).await?;
        let status = shop.finished(&session).await?;
        let rejects = shop.rejects(&session, 100).await?;
        let rejects: Vec<_> =
            rejects.iter().map(|reject| format!("{} {} {:?}", reject.file, reject.line, reject.errors)).collect();
        let files = status["files"].as_array().into_iter().flatten();
        let files: Vec<_> = files.map(|file| (file["name"].clone(), file["state"].clone(), counts(file))).collect();
        told.push((files, rejects));
        ensure!((before == shop.books.levels().await?) == dry_run, "a dry run moves nothing");
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(shop.books.levels().await?, [(id(1), 97), (id(2), 1)].into());
    Ok(())
}
