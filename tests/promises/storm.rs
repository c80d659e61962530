//! Functions that die, stall and are called twice, in any order that a seed says.
//!
//! | variable | default | what |
//! |---|---|---|
//! | `INTAKE_STORM_SEEDS` | 8 | how many seeds |
//! | `INTAKE_STORM_FIRST_SEED` | 1 | the first of them |
//! | `INTAKE_STORM_PARALLEL` | 4 | how many at a time |

use crate::support::{Dice, Goods, Ground, Upload, fail_points, formats};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, stream};
use intake_domain::dataset::{self, Effect};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often it is said how far the storm is.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// What happened to one upload, or to all of them.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    kills: u64,
    sleeps: u64,
    duplicates: u64,
    resumed: u64,
}

impl Weather {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        self.sleeps += other.sleeps;
        self.duplicates += other.duplicates;
        self.resumed += other.resumed;
    }
}

fn number(name: &str, or: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(or),
    }
}

pub(super) async fn every_seed_ends_where_the_oracle_says(ground: Arc<Ground>) -> Result<()> {
    let (seeds, first) = (number("INTAKE_STORM_SEEDS", 8)?, number("INTAKE_STORM_FIRST_SEED", 1)?);
    let parallel = number("INTAKE_STORM_PARALLEL", 4)? as usize;
    // those that files pass on their way
    let of_files = |point: &String| !point.starts_with("deliver-webhook.");
    let points: Vec<_> = fail_points()?.into_iter().filter(of_files).collect();
    ground.hurried(rage(&ground, &points, first, seeds, parallel)).await
}

/// Runs all seeds, and looks once more at what they left when the last message is gone.
async fn rage(ground: &Arc<Ground>, points: &[String], first: u64, seeds: u64, parallel: usize) -> Result<()> {
    let (since, mut said, mut sum) = (Instant::now(), Instant::now(), Weather::default());
    let (mut uploads, mut failed) = (Vec::new(), Vec::new());
    let runs = (first..first + seeds).map(|seed| async move { (seed, sail(ground, points, seed).await) });
    let mut runs = stream::iter(runs).buffer_unordered(parallel.max(1));
    while let Some((seed, run)) = runs.next().await {
        match run {
            Ok((upload, weather)) => {
                sum.add(weather);
                uploads.push((seed, upload));
            }
            Err(error) => {
                eprintln!("storm: seed {seed} failed: {error:#}");
                failed.push(seed);
            }
        }
        if said.elapsed() > SAID_EVERY || uploads.len() + failed.len() == seeds as usize {
            let (done, elapsed) = (uploads.len() + failed.len(), since.elapsed().as_secs());
            let Weather { kills, sleeps, duplicates, resumed } = sum;
            eprintln!(
                "storm: {done} of {seeds} seeds in {elapsed} s, {} failed; {kills} kills, {sleeps} sleeps, \
                 {duplicates} duplicates, {resumed} resumed",
                failed.len()
            );
            said = Instant::now();
        }
    }
    drop(runs);
    ground.drained().await?;
    for (seed, mut upload) in uploads {
        if let Err(error) = upload.verify().await {
            eprintln!("storm: seed {seed} was changed after its end: {error:#}");
            failed.push(seed);
        }
        upload.rest();
    }
    ensure!(failed.is_empty(), "seeds {failed:?} failed; INTAKE_STORM_FIRST_SEED={} repeats one", failed[0]);
    Ok(())
}

/// One seed: its files, what happens to the functions that work on them, and what must come of it.
async fn sail(ground: &Arc<Ground>, points: &[String], seed: u64) -> Result<(Upload, Weather)> {
    let mut dice = Dice::new(seed);
    let is_dry_run = dice.chance(10);
    let goods = goods(&mut dice);
    let mut upload = Upload::declare(ground, &goods, is_dry_run, None, &mut dice).await?;
    let armed = arm(ground, points, &upload, &mut dice)?;
    let (mut arrivals, mut post) = (dice.fork(), dice.fork());

    let has_ended = AtomicBool::new(false);
    let arrive = async {
        let mut order: Vec<_> = (0..upload.len()).collect();
        arrivals.shuffle(&mut order);
        for at in order {
            tokio::time::sleep(Duration::from_millis(arrivals.within(0..200))).await;
            upload.put(at).await?;
        }
        let resumed = upload.brought_home().await;
        has_ended.store(true, Ordering::Relaxed);
        resumed
    };
    let (resumed, duplicates) = tokio::try_join!(arrive, repeat(ground, &upload, &has_ended, &mut post))?;
    let mut weather = Weather { resumed: resumed as u64, duplicates, ..Weather::default() };
    for (point, action) in &armed {
        let times = |action: &str| action.rsplit(' ').next().and_then(|times| times.parse().ok()).unwrap_or(1_u64);
        let left = ground.armed(point, upload.shop.id);
        ground.disarm(point, upload.shop.id);
        if action.starts_with("kill") {
            weather.kills += times(action) - left.map_or(0, |left| times(&left));
        } else {
            weather.sleeps += u64::from(left.is_none());
        }
    }
    upload.verify().await?;
    upload.rest();
    Ok((upload, weather))
}

/// One to four files, few of whose datasets and ids differ, so that their rows meet.
fn goods(dice: &mut Dice) -> Vec<Goods> {
    let pool = dice.within(4..40);
    let oracles: Vec<_> = dataset::ALL.iter().filter(|dataset| dataset.effect != Effect::ChangesPrices).collect();
    let datasets = [**dice.one_of(&oracles), **dice.one_of(&oracles)];
    let goods = (0..dice.within(1..5)).map(|_| {
        let (dataset, format) = (*dice.one_of(&datasets), *dice.one_of(&formats()));
        let entries = dice.within(1..70);
        let mut goods = Goods::by_chance(dataset, format, entries, pool, dice);
        goods.reject_missing_references = dice.chance(20);
        goods.max_rejects = if dice.chance(20) { Some(dice.within(0..12) as usize) } else { None };
        goods
    });
    goods.collect()
}

/// Where the work on a file, a chunk and a slice stands that is poison in some seeds.
const POISONED: [&str; 3] = ["plan-file.before-arrive", "load-chunk.before-read", "promote-file.before-commit"];

/// Arms up to four points: most kill once, some twice, some sleep until the message has come again. In some seeds one
/// kills until a message is given up.
fn arm(ground: &Ground, points: &[String], upload: &Upload, dice: &mut Dice) -> Result<BTreeMap<String, String>> {
    let mut armed = BTreeMap::new();
    for _ in 0..dice.within(0..5) {
        let action = match dice.within(0..100) {
            0..15 => "kill 2".to_owned(),
            15..35 => format!("sleep {}", dice.within(1_100..2_500)),
            _ => "kill".to_owned(),
        };
        armed.insert(dice.one_of(points).clone(), action);
    }
    if dice.chance(6) {
        armed.insert((*dice.one_of(&POISONED)).to_owned(), "kill 7".to_owned());
    }
    for (point, action) in &armed {
        ground.arm(point, upload.shop.id, action)?;
    }
    Ok(armed)
}

/// Sends messages of the upload again, up to five times each, while it goes on and after its end. Returns how many.
async fn repeat(ground: &Ground, upload: &Upload, has_ended: &AtomicBool, dice: &mut Dice) -> Result<u64> {
    let mut sent = 0;
    for _ in 0..dice.within(0..8) {
        // at the end no more is waited for, so that what is left comes late
        if !has_ended.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(dice.within(10..600))).await;
        }
        let mut messages = Vec::new();
        let sent_before = upload.messages().await?;
        for _ in 0..dice.within(1..4).min(sent_before.len() as u64) {
            let times = dice.within(1..6) as usize;
            messages.extend(vec![dice.one_of(&sent_before); times]);
        }
        dice.shuffle(&mut messages);
        sent += messages.len() as u64;
        try_join_all(messages.iter().map(|message| ground.send(message.queue, &message.body))).await?;
    }
    Ok(sent)
}
