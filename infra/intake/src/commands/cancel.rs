//! `intake cancel`: the end of a session that goes on.

use std::time::Duration;

use intake_local::Settings;

use super::session::{rows_line, verdict};
use crate::api::{FileStatus, read_status};
use crate::output::{Bar, Output, Verdict, grouped, table};
use crate::target::ApiOptions;
use crate::uploads::Uploads;
use crate::watch;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session's upload token
    token: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Cancels the session, waits until nothing holds it any more, and says what had been promoted.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let token = &args.token;
    let api = args.api.connect_to(token).await?;
    let mut document = api.cancel(token).await?;
    let mut status = read_status(document.clone())?;
    if !status.terminal() {
        let bar = output.bar(status.total_chunks, Bar::Chunks);
        watch::to_the_end(&api, token, &bar, output, &|line| output.say(line)).await?;
        bar.finish_and_clear();
        (document, _) = api.status_document(token, Duration::ZERO).await?;
        status = read_status(document.clone())?;
    }
    Uploads::new(&Settings::from_env()?.state_dir).forget(token)?;
    output.say(&format!("{}, {} rows: {}", status.state, grouped(status.total_rows), rows_line(&status.rows)));
    if status.rows.promoted > 0 {
        output.say("what had been promoted stays");
    }
    table(status.files.iter().map(file_row)).iter().for_each(|line| output.say(line));
    output.result(&document)?;
    // To be cancelled is what was asked for here, and no failure.
    Ok(if status.state == "cancelled" { Verdict::Good } else { verdict(&status) })
}

fn file_row(file: &FileStatus) -> [String; 3] {
    [file.name.clone(), file.state.clone(), format!("{} rows promoted", grouped(file.rows.promoted))]
}
