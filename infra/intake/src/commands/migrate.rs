//! `intake migrate`: the database's schema.

use serde_json::json;

use crate::output::{Output, Verdict};
use crate::target::DatabaseOptions;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    database: DatabaseOptions,
}

/// Applies the migrations that are missing.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let applied = intake_postgres::migrate(&args.database.url().await?).await?;
    applied.iter().for_each(|name| output.say(&format!("applied {name}")));
    if applied.is_empty() {
        output.say("the schema is up to date");
    }
    output.result(&json!({"applied": applied}))?;
    Ok(Verdict::Good)
}
