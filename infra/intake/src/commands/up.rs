//! `intake up`: the local stack.

use std::io::IsTerminal;

use anyhow::Context;
use intake_local::{Endpoints, Settings, Stack};

use crate::output::{Output, Verdict};

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Return when it is ready, and leave it running
    #[arg(long)]
    detach: bool,
}

/// Starts the stack; in the foreground, stops it when asked to or when a part of it ends.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let settings = Settings::from_env()?;
    let say = |line: &str| output.say(line);
    if args.detach {
        let endpoints = start_detached(&settings, output).await?;
        say("`cargo intake down` ends it");
        output.result(&endpoints)?;
        return Ok(Verdict::Good);
    }
    let mut stack = Stack::start(&settings, &say).await?;
    // in the background these lines would be shown to somebody else, and about another program
    if std::io::stdin().is_terminal() {
        output.say(&format!("docs     {}/api/docs/", stack.endpoints().api_url));
        output.say(&format!("health   {}/health", stack.endpoints().api_url));
        output.say(&format!("database its URLs are in {}", settings.state_dir.join("endpoints.json").display()));
        output.say("ctrl-c ends it");
    }
    output.result(stack.endpoints())?;
    let why = stack.watch().await;
    stack.stop(&say).await?;
    output.say(&why?);
    Ok(Verdict::Good)
}

/// Starts the stack in the background, unless it is running.
pub async fn start_detached(settings: &Settings, output: &Output) -> anyhow::Result<Endpoints> {
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    intake_local::start_detached(settings, &exe, &|line| output.say(line)).await
}
