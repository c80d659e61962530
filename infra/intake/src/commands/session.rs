//! `intake session`: how far an upload session is.

use crate::api::{FileStatus, Rows, Status};
use crate::output::{Output, Verdict, grouped, size, table};
use crate::target::ApiOptions;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The session's upload token
    token: String,
    #[command(flatten)]
    api: ApiOptions,
}

/// Shows the session.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let (document, _) = args.api.connect().await?.status_document(&args.token).await?;
    output.result(&document)?;
    let status: Status = serde_json::from_value(document)?;
    if !output.json() {
        describe(&status).iter().for_each(|line| output.say(line));
    }
    Ok(verdict(&status))
}

/// How a session ended, or how it stands if it has not.
pub fn verdict(status: &Status) -> Verdict {
    match status.terminal() && !status.succeeded() {
        true => Verdict::Failed,
        false if status.rows.rejected > 0 => Verdict::Rejected,
        false => Verdict::Good,
    }
}

/// What became of rows, in words.
pub fn rows_line(Rows { inserted, updated, unchanged, rejected, .. }: &Rows) -> String {
    let counts = [("inserted", inserted), ("updated", updated), ("unchanged", unchanged), ("rejected", rejected)];
    counts.map(|(what, count)| format!("{} {what}", grouped(*count))).join(", ")
}

fn describe(status: &Status) -> Vec<String> {
    let chunks =
        format!("{} of {} done, {} failed", status.completed_chunks, status.total_chunks, status.failed_chunks);
    let dry_run = if status.dry_run { ", a dry run" } else { "" };
    let facts = [
        ("session", status.upload_token.clone()),
        ("state", format!("{}{dry_run}", status.state)),
        ("rows", format!("{} read, {}", grouped(status.total_rows), rows_line(&status.rows))),
        ("chunks", chunks),
        ("created", status.created_at.clone().unwrap_or_default()),
        ("last activity", status.last_activity.clone().unwrap_or_default()),
        ("expires", status.expires_at.clone().unwrap_or_default()),
    ];
    let mut lines = table(facts.map(|(name, fact)| [name.to_owned(), fact]));
    lines.push(String::new());
    let header = ["dataset", "state", "size", "chunks", "promoted", "rejected", "file"].map(str::to_owned);
    lines.extend(table([header].into_iter().chain(status.files.iter().map(file_row))));
    lines.extend(status.files.iter().filter_map(|file| Some(format!("{}: {}", file.name, file.error.as_ref()?))));
    lines
}

fn file_row(file: &FileStatus) -> [String; 7] {
    [
        file.dataset.clone(),
        file.state.clone(),
        size(file.size_bytes),
        format!("{}/{}", file.chunks.promoted, file.chunks.total),
        grouped(file.rows.promoted),
        grouped(file.rows.rejected),
        file.name.clone(),
    ]
}
