//! `intake status`: the parts of the local stack.

use intake_local::Settings;
use serde_json::json;

use crate::output::{Output, Verdict, table};

/// Shows each part; failed when one is not well.
pub async fn run(output: &Output) -> anyhow::Result<Verdict> {
    let parts = intake_local::status(&Settings::from_env()?).await?;
    let well = !parts.is_empty() && parts.iter().all(|(_, _, well)| *well);
    let describe = |(name, state, well): &(String, String, bool)| json!({"name": name, "state": state, "ok": well});
    output.result(&json!({"ok": well, "parts": parts.iter().map(describe).collect::<Vec<_>>()}))?;
    let mark = |well: bool| if well { "ok" } else { "--" }.to_owned();
    let lines = table(parts.into_iter().map(|(name, state, well)| [mark(well), name, state]));
    if !output.json() {
        lines.iter().for_each(|line| output.say(line));
    }
    Ok(if well { Verdict::Good } else { Verdict::Failed })
}
