//! What kills its function each time is given up, says so, holds up nobody else, and can be tried again.

use crate::support::{Dice, File, Goods, Ground, Shop, Upload};
use anyhow::{Context, Result, ensure};
use intake::commands::redrive::send_back;
use intake::deployment::Deployment;
use intake_domain::dataset;
use intake_domain::format::{Compression, Format, Layout};
use intake_domain::state::FileState;
use intake_postgres::{Database, Scope, ledger};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// As often as a message is delivered.
const TO_THE_END: &str = "kill 5";

const PLAIN: Format = Format { layout: Layout::Ndjson, compression: Compression::None };

/// Two files of few rows: each is one chunk.
async fn small(ground: &Arc<Ground>, seed: u64) -> Result<Upload> {
    let mut dice = Dice::new(seed);
    let datasets = ["customers", "products"].map(dataset::by_name).into_iter().flatten();
    let goods: Vec<_> = datasets.map(|dataset| Goods::by_chance(dataset, PLAIN, 8, 10, &mut dice)).collect();
    Upload::declare(ground, &goods, false, None, &mut dice).await
}

/// The one file of a session that has failed.
fn the_failed(status: &Value) -> Result<&Value> {
    let files = status["files"].as_array().context("files")?;
    let failed: Vec<_> = files.iter().filter(|file| file["state"] == "failed").collect();
    ensure!(failed.len() == 1, "one file has failed: {status:#}");
    Ok(failed[0])
}

pub(super) async fn poison_is_given_up_alone_and_resumed(ground: Arc<Ground>) -> Result<()> {
    let poison = async |point: &str, seed: u64| {
        let upload = small(&ground, seed).await?;
        ground.arm(point, upload.shop.id, TO_THE_END)?;
        upload.put(0).await?;
        upload.ended_but(1).await?;
        ensure!(ground.armed(point, upload.shop.id).is_none(), "it was delivered five times");
        let status = upload.shop.status(&upload.session).await?;
        let failed = the_failed(&status)?;
        let error = &failed["error"];
        ensure!((&error["code"], &error["resumable"]) == (&json!("DEAD_LETTER"), &json!(true)), "{status:#}");
        ensure!(error["detail"].as_str().is_some_and(|detail| detail.contains("out of memory")), "{status:#}");
        if point.starts_with("load-chunk") {
            let chunks = failed["failed_chunks"].as_array().context("failed chunks")?;
            ensure!(chunks.len() == 1 && chunks[0]["code"] == "DEAD_LETTER", "{status:#}");
        }
        // the rest of the session does not wait for it
        upload.put(1).await?;
        upload.ended().await?;
        ensure!(upload.resumable().await?.len() == 1, "{point}");
        upload.resume().await?;
        upload.ended().await?;
        upload.verify().await.with_context(|| point.to_owned())
    };
    let healthy = async {
        // while others die beside it
        for seed in 10..14 {
            let upload = small(&ground, seed).await?;
            upload.put_all().await?;
            upload.ended().await?;
            upload.verify().await?;
        }
        anyhow::Ok(())
    };
    let work = async {
        tokio::try_join!(
            poison("plan-file.before-arrive", 1),
            poison("load-chunk.before-read", 2),
            poison("promote-file.before-commit", 3),
            healthy
        )
    };
    ground.hurried(work).await.map(drop)
}

pub(super) async fn a_dead_letter_of_work_that_was_done_changes_nothing(ground: Arc<Ground>) -> Result<()> {
    let upload = small(&ground, 5).await?;
    upload.put_all().await?;
    upload.ended().await?;
    for _ in 0..2 {
        for message in upload.messages().await? {
            assert!(ground.deliver("RecordDeadLetter", &message.body).await?, "{message:?}");
        }
    }
    ground.drained().await?;
    upload.verify().await
}

pub(super) async fn a_dead_letter_of_no_known_kind_is_kept(ground: Arc<Ground>) -> Result<()> {
    assert!(!ground.deliver("RecordDeadLetter", "{}").await?);
    Ok(())
}

pub(super) async fn what_is_sent_back_is_done(ground: Arc<Ground>) -> Result<()> {
    let point = "load-chunk.before-read";
    let upload = small(&ground, 6).await?;
    ground.arm(point, upload.shop.id, TO_THE_END)?;
    // so many that one call does not take them all
    let queue = &ground.endpoints.queues["uploads-dead-letters"];
    for _ in 0..23 {
        ground
            .sqs
            .send_message()
            .queue_url(queue)
            .message_body(crate::support::message("plan-file.test-event")?)
            .send()
            .await?;
    }
    let stack = Deployment::find(ground.aws.clone(), "intake").await?;
    let urls = stack.queues()?;
    let counts = async |queue: &'static str, dry_run| {
        let moved = send_back(stack.config(), &urls, Some(queue), dry_run).await?;
        anyhow::Ok(moved.iter().map(|moved| (moved.queue, moved.found, moved.hidden, moved.sent)).collect::<Vec<_>>())
    };
    assert_eq!(counts("uploads", true).await?, [("uploads", 23, 0, 0)]);
    assert_eq!(counts("uploads", false).await?, [("uploads", 23, 0, 23)]);
    assert_eq!(counts("uploads", false).await?, [("uploads", 0, 0, 0)]);

    // a chunk that died five times is loaded once it is sent back, with nobody who has written it off meanwhile
    let died = async {
        ground.record_dead_letters(false).await?;
        upload.put(0).await?;
        ground.given_up("chunks", 1).await
    };
    ground.hurried(died).await?;
    assert_eq!(counts("chunks", false).await?, [("chunks", 1, 0, 1)]);
    upload.put(1).await?;
    upload.ended().await?;
    upload.verify().await?;
    let wrong = send_back(stack.config(), &urls, Some("chunk"), true).await.err().context("no such queue")?;
    ensure!(wrong.to_string().contains("urgent-chunks"), "{wrong}");
    let wrong = Deployment::find(ground.aws.clone(), "none").await.err().context("no such stack")?;
    ensure!(wrong.to_string().contains("none"), "{wrong}");
    Ok(())
}

pub(super) async fn who_waited_for_a_resumed_file_does_not_end_it(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let session = shop.declare(&[File::new("customers.ndjson", vec![b'\n'; 10])]).await?;
    let file = session.file_id(0);
    for sql in [
        "update files set state = 'loading', uploaded_at = now(), planned_at = now() where file_id = $1",
        "insert into chunks (tenant_id, file_id, chunk_index, start_byte, end_byte, state, error_code)
        select tenant_id, file_id, number, 5 * number, 5 * number + 5, (array['staged', 'failed'])[number + 1],
            (array[null, 'DEAD_LETTER'])[number + 1]
        from files, generate_series(0, 1) as number where file_id = $1",
    ] {
        shop.books.execute(sql, &[&file]).await?;
    }
    let [api, loader] = [&ground.endpoints.api_database_url, &ground.endpoints.loader_database_url];
    let (api, loader) = (Database::new(api, "tests")?, Database::new(loader, "tests")?);
    let resuming = api.begin(shop.id).await?;
    let resumed = ledger::resume_file(&resuming, file, None).await?.context("a file")?;
    ensure!((resumed.state, resumed.first_chunks.as_slice()) == (FileState::Loading, &[1][..]), "{resumed:?}");
    let finish =
        loader.run("finish_staging", shop.id, async |scope: &mut Scope<'_>| ledger::finish_staging(scope, file).await);
    let resume = async {
        // until the other one waits
        tokio::time::sleep(Duration::from_millis(500)).await;
        resuming.commit().await
    };
    let (has_moved, committed) = tokio::join!(finish, resume);
    committed?;
    ensure!(!has_moved?, "a chunk is loaded again");
    ensure!(shop.status(&session).await?["files"][0]["state"] == "loading", "it goes on");
    Ok(())
}
