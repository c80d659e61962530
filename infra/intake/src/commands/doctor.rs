//! `intake doctor`: what the local stack needs, and whether it is there.

use intake_local::Settings;
use serde_json::json;

use crate::output::{Output, Verdict};

/// Checks this machine; failed when something is missing.
pub async fn run(output: &Output) -> anyhow::Result<Verdict> {
    let ok = intake_local::doctor(&Settings::from_env()?, &|line| output.say(line)).await?;
    output.result(&json!({"ok": ok}))?;
    Ok(if ok { Verdict::Good } else { Verdict::Failed })
}
