//! Functions die and stall at every step, and the end is the one that would have been without it.

use crate::support::{Dice, Failure, Goods, Ground, Upload, event, fail_points};
use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};
use intake_aws::messages::PromoteFile;
use intake_domain::dataset;
use intake_domain::format::{Compression, Format, Layout};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An upload that passes a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Lines that are cut by arithmetic.
    Plain,
    /// Files that are read through and cut into objects.
    Packed,
    /// A dry run.
    DryRun,
    /// Files that go in at once or not at all, within their limit.
    Limited,
    /// Files over their limit, but not before they are promoted.
    OverLimit,
    /// Files of another size than was declared.
    Refused,
    /// A file that is replaced while it is loaded.
    Replaced,
    /// A file that is replaced when it is staged, with rows that promotion refuses and so must show.
    ReplacedLate,
    /// A file whose staged rows are lost.
    Lost,
    /// A file that takes longer than its turn.
    Long,
    /// A file that never arrives, and another that waits for it.
    Expired,
    /// A chunk that kills its function until it is given up.
    Poison,
    /// None: `webhooks.rs` sees to it.
    Webhook,
    /// None: `idempotency.rs` sees to it.
    Idempotency,
    /// None: `stock.rs` sees to it.
    Stock,
    /// None: `prices.rs` sees to it.
    Prices,
    /// None: `metrics.rs` sees to it.
    Metrics,
    /// None: `exports.rs` sees to it.
    Export,
    /// None: `retention.rs` sees to it.
    Retention,
}

/// Every point, with the upload that passes it.
const POINTS: &[(&str, Way)] = &[
    ("plan-file.before-arrive", Way::Plain),
    ("plan-file.after-arrive", Way::Packed),
    ("plan-file.before-piece", Way::Packed),
    ("plan-file.after-piece", Way::Packed),
    ("plan-file.after-plan", Way::Packed),
    ("plan-file.after-send", Way::Plain),
    ("plan-file.after-wake", Way::Plain),
    ("plan-file.before-refuse", Way::Refused),
    ("plan-file.after-refuse", Way::Refused),
    ("load-chunk.before-read", Way::Plain),
    ("load-chunk.before-put", Way::Packed),
    ("load-chunk.after-put", Way::Plain),
    ("load-chunk.after-stage", Way::Plain),
    ("load-chunk.after-finish", Way::Plain),
    ("load-chunk.after-next", Way::Plain),
    ("load-chunk.after-wake", Way::Plain),
    ("load-chunk.before-give-up", Way::Replaced),
    ("load-chunk.after-give-up", Way::Replaced),
    ("promote-file.before-commit", Way::Plain),
    ("promote-file.after-commit", Way::Packed),
    ("promote-file.before-end", Way::Plain),
    ("promote-file.after-end", Way::Packed),
    ("promote-file.after-hand-on", Way::Long),
    ("promote-file.before-whole", Way::Limited),
    ("promote-file.after-whole", Way::Limited),
    ("promote-file.before-books", Way::OverLimit),
    ("promote-file.after-books", Way::DryRun),
    ("promote-file.after-refuse", Way::ReplacedLate),
    ("promote-file.after-wake", Way::Plain),
    ("promote-file.after-give-up", Way::Lost),
    ("record-dead-letter.chunk-recorded", Way::Poison),
    ("record-dead-letter.recorded", Way::Poison),
    ("record-dead-letter.woken", Way::Poison),
    ("maintain.after-expiry", Way::Expired),
    ("maintain.after-files", Way::Retention),
    ("maintain.after-objects", Way::Retention),
    ("maintain.within-archive", Way::Retention),
    ("deliver-webhook.loaded", Way::Webhook),
    ("deliver-webhook.called", Way::Webhook),
    ("deliver-webhook.recorded", Way::Webhook),
    ("deliver-webhook.put-off", Way::Webhook),
    ("idempotency.claimed", Way::Idempotency),
    ("idempotency.answered", Way::Idempotency),
    ("ingest-api.before-commit", Way::Idempotency),
    ("ingest-api.before-put", Way::Idempotency),
    ("stock-api.before-commit", Way::Stock),
    ("stock-api.after-commit", Way::Stock),
    ("price-api.before-commit", Way::Prices),
    ("price-api.after-commit", Way::Prices),
    ("refresh-metrics.before-commit", Way::Metrics),
    ("refresh-metrics.after-commit", Way::Metrics),
    ("report-api.export-ordered", Way::Export),
    ("run-export.claimed", Way::Export),
    ("run-export.between-ranges", Way::Export),
    ("run-export.recorded", Way::Export),
    ("run-export.written", Way::Export),
    ("run-export.completed", Way::Export),
    ("run-export.handed-on", Way::Export),
];

/// What happens at each: the function dies, dies again when it comes back, or stalls until its message has come again
/// and two work on the same.
const ACTIONS: [&str; 3] = ["kill", "kill 2", "sleep 1500"];

/// How many points are tried at a time.
const AT_ONCE: usize = 8;

/// Where a loader stands before it looks at its chunk.
const LOADING: &str = "load-chunk.before-read";

/// Where a planner stands before it knows a file.
const PLANNING: &str = "plan-file.before-arrive";

/// Where a slice is about to be committed.
const COMMITTING: &str = "promote-file.before-commit";

/// How often a message is delivered before it is given up.
const MAX_RECEIVES: u32 = 5;

/// For how long a slice is held up that is to take longer than its file's turn, in milliseconds.
const PAST_ITS_TURN_MS: u64 = 10_500;

/// For so long the message of such a file must stay hidden, in seconds; otherwise it would be taken for poison.
const LONG_HIDDEN_SECONDS: &str = "13";

const PLAIN: Format = Format { layout: Layout::Ndjson, compression: Compression::None };
const PACKED: [Format; 2] = [
    Format { layout: Layout::Csv, compression: Compression::Gzip },
    Format { layout: Layout::Ndjson, compression: Compression::Zstd },
];

impl Way {
    /// Declares an upload of this kind.
    async fn declare(self, ground: &Arc<Ground>, dice: &mut Dice) -> Result<Upload> {
        let formats = if self == Self::Packed { PACKED } else { [PLAIN; 2] };
        // those of the last go through queues of their own
        let datasets = if self == Self::Long { ["price_history", "stock_events"] } else { ["customers", "orders"] };
        // few rows are one chunk
        let entries = match self {
            Self::Poison | Self::Replaced | Self::ReplacedLate | Self::Lost => 6,
            _ => 60,
        };
        let mut goods = Vec::new();
        for (name, format) in datasets.into_iter().zip(formats) {
            let dataset = dataset::by_name(name).context("a dataset")?;
            let mut file = Goods::by_chance(dataset, format, entries, entries, dice);
            match self {
                Self::Limited => file.max_rejects = Some(entries as usize),
                // what is refused for its natural key is known when it is promoted
                Self::OverLimit => file = Goods { max_rejects: Some(20), ..file.with_twins(40) },
                Self::ReplacedLate => file = file.with_twins(1),
                _ => {}
            }
            goods.push(file);
        }
        Upload::declare(ground, &goods, self == Self::DryRun, None, dice).await
    }

    /// Sends its files.
    async fn send(self, ground: &Ground, upload: &mut Upload) -> Result<()> {
        let tenant = upload.shop.id;
        match self {
            Self::Refused => {
                for at in 0..upload.len() {
                    upload.put_other(at, Failure { code: "SIZE_MISMATCH", is_staged: false }).await?;
                }
                return Ok(());
            }
            Self::Replaced => {
                // the loader comes back after the file was replaced, and before the planner hears of it
                ground.arm(LOADING, tenant, "kill")?;
                upload.put(0).await?;
                while ground.armed(LOADING, tenant).is_some() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                ground.arm(PLANNING, tenant, "kill 4")?;
                upload.put_other(0, Failure { code: "OBJECT_REPLACED", is_staged: false }).await?;
                upload.ended_but(1).await?;
                return upload.put(1).await;
            }
            // the second file waits for its turn
            Self::ReplacedLate => {
                upload.put(1).await?;
                upload.staged(1).await?;
                upload.put_other(1, Failure { code: "OBJECT_REPLACED", is_staged: true }).await?;
                return upload.put(0).await;
            }
            Self::Lost => {
                upload.put(1).await?;
                upload.staged(1).await?;
                upload.remove_staged(1, Failure { code: "PROMOTION_FAILED", is_staged: true }).await?;
                let message =
                    serde_json::to_string(&PromoteFile { tenant_id: tenant, file_id: upload.session.file_id(1) })?;
                for _ in 0..2 {
                    // it dies, too
                    ground.deliver_again("PromoteFile", &message, MAX_RECEIVES).await.ok();
                }
                return upload.put(0).await;
            }
            Self::Expired => {
                upload.put(1).await?;
                upload.staged(1).await?;
                upload.expire(0).await?;
                for _ in 0..10 {
                    // it dies, too
                    ground.invoke("Maintain", &event("maintain.hourly")?).await.ok();
                }
                return Ok(());
            }
            Self::Poison => {
                ground.arm(LOADING, tenant, "kill 5")?;
                upload.put(0).await?;
                upload.ended_but(1).await?;
                return upload.put(1).await;
            }
            Self::Long => ground.arm(COMMITTING, tenant, &format!("sleep {PAST_ITS_TURN_MS}"))?,
            _ => {}
        }
        upload.put_all().await
    }
}

/// Lets the functions of one upload die or stall at one point.
async fn fail_at(ground: &Arc<Ground>, point: &str, way: Way, action: &str, seed: u64) -> Result<()> {
    let mut upload = way.declare(ground, &mut Dice::new(seed)).await?;
    let tenant = upload.shop.id;
    ground.arm(point, tenant, action)?;
    way.send(ground, &mut upload).await?;
    if way == Way::Lost {
        upload.ended().await?; // nothing brings it home
    } else {
        upload.brought_home().await?;
    }
    ensure!(ground.armed(point, tenant).as_deref() != Some(action), "nothing passed the point");
    ground.disarm(point, tenant);
    upload.verify().await
}

pub(super) async fn a_function_that_fails_at_any_step_changes_nothing(ground: Arc<Ground>) -> Result<()> {
    let known: BTreeSet<_> = POINTS.iter().map(|(point, _)| (*point).to_owned()).collect();
    assert_eq!(known, fail_points()?, "every fail point of the sources has its way here");
    let has_tests_of_its_own = |way| {
        matches!(
            way,
            Way::Webhook | Way::Idempotency | Way::Stock | Way::Prices | Way::Metrics | Way::Export | Way::Retention
        )
    };
    // a sample passes each point once, with each action at a third of them
    let is_sample = std::env::var("INTAKE_FAIL_POINTS").as_deref() != Ok("all");
    let points = POINTS.iter().filter(|(_, way)| !has_tests_of_its_own(*way)).enumerate();
    let fates = points.flat_map(|(nth, (point, way))| {
        let actions = ACTIONS.into_iter().enumerate();
        let chosen = actions.filter(move |(at, _)| !is_sample || nth % ACTIONS.len() == *at);
        chosen.map(move |(_, action)| (*point, *way, action))
    });
    let fates = (0..).zip(fates).map(|(seed, (point, way, action))| {
        let ground = &ground;
        async move {
            let failed = fail_at(ground, point, way, action, seed).await;
            failed.with_context(|| format!("{action} at {point} ({way:?})"))
        }
    });
    let work = async {
        ground.hide_for(&BTreeMap::from([("urgent-promotions".to_owned(), LONG_HIDDEN_SECONDS.to_owned())])).await?;
        let ends: Vec<_> = stream::iter(fates).buffer_unordered(AT_ONCE).collect().await;
        let failed: Vec<_> = ends.into_iter().filter_map(|end| Some(format!("{:#}", end.err()?))).collect();
        ensure!(failed.is_empty(), "{}", failed.join("\n\n"));
        Ok(())
    };
    ground.hurried(work).await
}
