//! `intake down`: ends the local stack.

use intake_local::Settings;
use serde_json::json;

use crate::output::{Output, Verdict};

/// Stops the stack, whoever started it. Its state stays.
pub async fn run(output: &Output) -> anyhow::Result<Verdict> {
    let was_running = intake_local::stop_running(&Settings::from_env()?, &|line| output.say(line)).await?;
    output.say(if was_running { "the stack is down, its state is kept" } else { "the stack was not running" });
    output.result(&json!({"was_running": was_running}))?;
    Ok(Verdict::Good)
}
