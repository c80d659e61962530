//! `intake session`: how far an upload session is.

use std::time::Duration;

use intake_local::Settings;

use crate::api::{FileStatus, Limits, Rows, Status, Webhook, read_status};
use crate::output::{Output, Verdict, grouped, size, table};
use crate::target::ApiOptions;
use crate::uploads::Uploads;

/// Failed chunks of a file that are shown.
const CHUNKS_SHOWN: usize = 10;

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
    let api = args.api.connect_to(&args.token).await?;
    let (document, _) = api.status_document(&args.token, Duration::ZERO).await?;
    output.result(&document)?;
    let status = read_status(document)?;
    if status.terminal() {
        Uploads::new(&Settings::from_env()?.state_dir).forget(&args.token)?;
    }
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
pub fn rows_line(rows: &Rows) -> String {
    let Rows { inserted, updated, unchanged, rejected, staged, discarded, .. } = rows;
    let always = [("inserted", inserted), ("updated", updated), ("unchanged", unchanged), ("rejected", rejected)];
    let sometimes = [("staged", staged), ("discarded", discarded)].into_iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> =
        always.into_iter().chain(sometimes).map(|(what, count)| format!("{} {what}", grouped(*count))).collect();
    counts.join(", ")
}

/// How a session ended, in lines: why files failed, what to do about it, and the rows.
pub fn end_lines(status: &Status) -> Vec<String> {
    let mut lines = reasons(status);
    lines.push(format!("{}, {} rows: {}", status.state, grouped(status.total_rows), rows_line(&status.rows)));
    if status.rows.dangling_references > 0 {
        lines.push(format!("{} references to rows that are not there", grouped(status.rows.dangling_references)));
    }
    lines
}

fn describe(status: &Status) -> Vec<String> {
    let dry_run = if status.dry_run { ", a dry run" } else { "" };
    let chunks =
        format!("{} of {} done, {} failed", status.completed_chunks, status.total_chunks, status.failed_chunks);
    let bytes = match status.bytes.total {
        0 => String::new(),
        total => format!("{} of {} read", size(status.bytes.loaded), size(total)),
    };
    let dangling = match status.rows.dangling_references {
        0 => String::new(),
        count => format!("{} to rows that are not there", grouped(count)),
    };
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let facts = [
        ("session", status.upload_token.clone()),
        ("state", format!("{}{dry_run}", status.state)),
        ("rows", format!("{} read, {}", grouped(status.total_rows), rows_line(&status.rows))),
        ("references", dangling),
        ("speed", status.rows_per_second.map(speed).unwrap_or_default()),
        ("bytes", bytes),
        ("chunks", chunks),
        ("policy", status.policy.as_ref().map(limits_line).unwrap_or_default()),
        ("created", optional(&status.created_at)),
        ("uploaded", optional(&status.times.uploaded_at)),
        ("planned", optional(&status.times.planned_at)),
        ("staged", optional(&status.times.staged_at)),
        ("finished", optional(&status.times.finished_at)),
        ("last activity", optional(&status.last_activity)),
        ("expires", optional(&status.expires_at)),
        ("callback", status.webhook.as_ref().map(webhook_line).unwrap_or_default()),
    ];
    let facts = facts.into_iter().filter(|(_, fact)| !fact.is_empty());
    let mut lines = table(facts.map(|(name, fact)| [name.to_owned(), fact]));
    lines.extend(status.webhook.iter().flat_map(attempt_lines));
    if !status.files.is_empty() {
        lines.push(String::new());
        let header = ["dataset", "format", "state", "size", "chunks", "promoted", "rejected", "speed", "file"];
        lines.extend(table([header.map(str::to_owned)].into_iter().chain(status.files.iter().map(file_row))));
    }
    for file in &status.files {
        if let Some(policy) = file.policy.as_ref().filter(|policy| status.policy.as_ref() != Some(policy)) {
            lines.push(format!("{}: {}", file.name, limits_line(policy)));
        }
    }
    lines.extend(reasons(status));
    lines
}

/// Why files and chunks failed, and what can be done about it.
fn reasons(status: &Status) -> Vec<String> {
    let mut lines = Vec::new();
    for FileStatus { name, error, failed_chunks, .. } in &status.files {
        lines.extend(error.iter().map(|cause| format!("{name}: {cause}")));
        let chunk = |chunk: &crate::api::FailedChunk| format!("{name}: chunk {}: {}", chunk.chunk_index, chunk.cause);
        lines.extend(failed_chunks.iter().take(CHUNKS_SHOWN).map(chunk));
        if let Some(more) = failed_chunks.len().checked_sub(CHUNKS_SHOWN).filter(|more| *more > 0) {
            lines.push(format!("{name}: {more} more failed chunks, see --json"));
        }
    }
    if status.files.iter().filter_map(|file| file.error.as_ref()).any(|error| error.resumable) {
        lines.push(format!("`cargo intake resume {}` lets it go on", status.upload_token));
    }
    lines
}

fn limits_line(limits: &Limits) -> String {
    let rejects = match &limits.max_rejects {
        None => "any number of rejects".to_owned(),
        Some(most) => format!("at most {most} rejects"),
    };
    match limits.on_missing_reference.as_str() {
        "" => rejects,
        missing => format!("{rejects}, {missing} missing references"),
    }
}

fn webhook_line(Webhook { url, state, next_attempt_at, .. }: &Webhook) -> String {
    let next = next_attempt_at.as_ref().filter(|_| state == "pending");
    let next = next.map(|time| format!(", next attempt {time}")).unwrap_or_default();
    format!("{state}{next}, {url}")
}

fn attempt_lines(webhook: &Webhook) -> Vec<String> {
    let row = |attempt: &crate::api::WebhookAttempt| {
        [
            format!("  attempt {}", attempt.attempt),
            attempt.attempted_at.clone(),
            attempt.status.map_or("no answer".to_owned(), |status| status.to_string()),
            format!("{} ms", attempt.elapsed_ms),
            attempt.error.clone().unwrap_or_default(),
        ]
    };
    table(webhook.attempts.iter().map(row))
}

fn speed(rows_per_second: f64) -> String {
    format!("{} rows/s", grouped(rows_per_second.round() as u64))
}

fn file_row(file: &FileStatus) -> [String; 9] {
    let format = match file.format.compression.as_str() {
        "" | "none" => file.format.layout.clone(),
        compression => format!("{} {compression}", file.format.layout),
    };
    [
        file.dataset.clone(),
        format,
        file.state.clone(),
        size(file.size_bytes),
        format!("{}/{}", file.chunks.promoted, file.chunks.total),
        grouped(file.rows.promoted),
        grouped(file.rows.rejected),
        file.rows_per_second.map(speed).unwrap_or_default(),
        file.name.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_older_servers_answer_is_read() {
        let status = read_status(json!({
            "upload_token": "t", "state": "loading", "total_rows": 5, "rows": {"accepted": 5, "rejected": 1},
            "files": [{"name": "a.ndjson", "dataset": "orders", "state": "loading", "size_bytes": 9, "error": null}],
        }));
        let lines = describe(&status.unwrap()).join("\n");
        assert!(lines.contains("rows     5 read, 0 inserted, 0 updated, 0 unchanged, 1 rejected"), "{lines}");
        assert!(!lines.contains("callback") && !lines.contains("policy"), "{lines}");
    }

    #[test]
    fn all_facts_are_shown() {
        let attempt = json!({"attempt": 1, "attempted_at": "now", "status": 500, "error": null, "elapsed_ms": 31});
        let status = read_status(json!({
            "upload_token": "t", "state": "failed", "rows_per_second": 1234.4, "bytes": {"total": 2048, "loaded": 1024},
            "rows": {"staged": 3, "discarded": 2, "dangling_references": 4},
            "times": {"uploaded_at": "10:00"},
            "policy": {"max_rejects": "5%", "on_missing_reference": "reject"},
            "webhook": {
                "webhook_id": "w", "url": "https://example.org", "state": "pending", "next_attempt_at": "soon",
                "attempts": [attempt],
            },
            "files": [{
                "name": "a.csv.gz", "format": {"layout": "csv", "compression": "gzip"},
                "policy": {"max_rejects": 0, "on_missing_reference": "accept"},
                "error": {"code": "DEAD_LETTER", "detail": "gave up", "resumable": true},
                "failed_chunks": [{"chunk_index": 3, "code": "DEAD_LETTER", "detail": "gone"}],
            }],
        }))
        .unwrap();
        let lines = describe(&status).join("\n");
        for fact in [
            "0 rejected, 3 staged, 2 discarded",
            "4 to rows that are not there",
            "1,234 rows/s",
            "1.00 KiB of 2.00 KiB read",
            "at most 5% rejects, reject missing references",
            "uploaded    10:00",
            "pending, next attempt soon, https://example.org",
            "  attempt 1  now  500  31 ms",
            "csv gzip",
            "a.csv.gz: at most 0 rejects, accept missing references",
            "a.csv.gz: DEAD_LETTER: gave up",
            "a.csv.gz: chunk 3: DEAD_LETTER: gone",
            "`cargo intake resume t` lets it go on",
        ] {
            assert!(lines.contains(fact), "{fact}\n{lines}");
        }
        assert_eq!(verdict(&status), Verdict::Failed);
    }

    #[test]
    fn a_cancelled_session_has_failed() {
        let status = |state: &str| read_status(json!({"state": state, "rows": {"rejected": 1}})).unwrap();
        assert_eq!(verdict(&status("cancelled")), Verdict::Failed);
        assert_eq!(verdict(&status("cancelling")), Verdict::Rejected);
        assert_eq!(verdict(&status("completed_with_errors")), Verdict::Rejected);
    }
}
