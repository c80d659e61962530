//! `intake redrive`: dead letters go back into the queues that they came from.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use intake_aws::{DeadLetters, SdkConfig};
use intake_local::{QUEUES, Settings};
use serde_json::json;

use crate::deployment;
use crate::output::{Output, Verdict, grouped, table};

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only those of this queue, such as `chunks` [default: of all]
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Count them and send none
    #[arg(long)]
    dry_run: bool,
}

/// What was found in one queue, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its name.
    pub queue: &'static str,
    /// How many dead letters it had.
    pub found: u64,
    /// How many more somebody worked on, which are left to them.
    pub hidden: u64,
    /// How many went back.
    pub sent: u64,
}

/// Sends back what is there when it is called: what dies again meanwhile is left.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let (config, urls) = queues().await?;
    tell(&send_back(&config, &urls, args.queue.as_deref(), args.dry_run).await?, args.dry_run, output)?;
    Ok(Verdict::Good)
}

/// Sends back what is dead of one queue or of all, or only counts it; `urls` are those of the queues by name.
pub async fn send_back(
    config: &SdkConfig,
    urls: &BTreeMap<String, String>,
    queue: Option<&str>,
    dry_run: bool,
) -> anyhow::Result<Vec<Moved>> {
    let names: Vec<_> = QUEUES.iter().step_by(2).map(|(queue, _)| *queue).collect();
    let chosen: Vec<_> = names.iter().copied().filter(|name| queue.is_none_or(|queue| queue == *name)).collect();
    if chosen.is_empty() {
        bail!("there is no queue {}; there are {}", queue.unwrap_or_default(), names.join(", "));
    }
    let url = |name: &str| urls.get(name).cloned().with_context(|| format!("the stack has no queue {name}"));
    let mut moved = Vec::with_capacity(chosen.len());
    for queue in chosen {
        let letters = DeadLetters::new(config, url(queue)?, url(&format!("{queue}-dead-letters"))?);
        let depth = letters.depth().await?;
        let mut sent = 0;
        while !dry_run && sent < depth.visible {
            match letters.send_back().await.with_context(|| format!("{queue}, after {sent} were sent back"))? {
                0 => break,
                count => sent += count as u64,
            }
        }
        moved.push(Moved { queue, found: depth.visible, hidden: depth.hidden, sent });
    }
    Ok(moved)
}

/// The queues of the stack that the command line names, or of the local one.
async fn queues() -> anyhow::Result<(SdkConfig, BTreeMap<String, String>)> {
    if let Some(stack) = deployment::named() {
        return Ok((stack.config().clone(), stack.queues()?));
    }
    let stack = intake_local::running(&Settings::from_env()?).await;
    let stack = stack.context("no queues: the local stack is not running; for a deployment give --stack NAME")?;
    Ok((intake_aws::load_from(&stack.aws_url).await, stack.queues))
}

fn tell(moved: &[Moved], dry_run: bool, output: &Output) -> anyhow::Result<()> {
    let header = ["queue", "dead letters", "being worked on", "sent back"].map(str::to_owned);
    let row = |of: &Moved| [of.queue.to_owned(), grouped(of.found), grouped(of.hidden), grouped(of.sent)];
    table([header].into_iter().chain(moved.iter().map(row))).iter().for_each(|line| output.say(line));
    if dry_run {
        output.say("nothing was sent, without --dry-run it is");
    }
    let queues = moved.iter().map(
        |of| json!({ "queue": of.queue, "dead_letters": of.found, "being_worked_on": of.hidden, "sent_back": of.sent }),
    );
    output.result(&json!({ "queues": queues.collect::<Vec<_>>() }))
}
