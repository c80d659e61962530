//! `intake sessions`: a tenant's upload sessions, newest first.

use serde_json::{Value, json};

use crate::api::ListedSession;
use crate::output::{Output, Verdict, grouped, size, table};
use crate::target::ApiOptions;

/// The most that the server lists at once.
const PAGE: u64 = 200;

/// Options.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Only sessions in this state, such as `loading` or `failed`
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    api: ApiOptions,
}

/// Lists the sessions.
pub async fn run(args: &Args, output: &Output) -> anyhow::Result<Verdict> {
    let api = args.api.connect().await?;
    let (mut sessions, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let left = args.limit.saturating_sub(sessions.len() as u64);
        let mut page = api.sessions(left.min(PAGE), args.state.as_deref(), cursor.as_deref()).await?;
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        let Value::Array(found) = page["sessions"].take() else { break };
        sessions.extend(found);
        if cursor.is_none() || sessions.len() as u64 >= args.limit {
            break;
        }
    }
    if !output.json() {
        let listed: Vec<ListedSession> = serde_json::from_value(Value::Array(sessions))?;
        lines(&listed).iter().for_each(|line| output.say(line));
        if cursor.is_some() {
            output.say("there are more, --limit shows them");
        }
        return Ok(Verdict::Good);
    }
    output.result(&json!({"sessions": sessions, "next_cursor": cursor}))?;
    Ok(Verdict::Good)
}

fn lines(sessions: &[ListedSession]) -> Vec<String> {
    let header = ["session", "state", "created", "files", "size", "chunks", "rows", "promoted", "rejected"];
    let row = |session: &ListedSession| {
        let dry_run = if session.dry_run { " (dry run)" } else { "" };
        [
            session.upload_token.clone(),
            format!("{}{dry_run}", session.state),
            session.created_at.clone(),
            session.files.to_string(),
            size(session.size_bytes),
            format!("{}/{}", session.completed_chunks, session.total_chunks),
            grouped(session.rows.accepted),
            grouped(session.rows.promoted),
            grouped(session.rows.rejected),
        ]
    };
    table([header.map(str::to_owned)].into_iter().chain(sessions.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_line() {
        let listed: Vec<ListedSession> = serde_json::from_value(json!([{
            "upload_token": "t", "upload_id": "i", "status": "completed", "state": "completed", "dry_run": true,
            "created_at": "2026-01-01T00:00:00Z", "files": 2, "size_bytes": 2048, "total_chunks": 3,
            "completed_chunks": 3, "failed_chunks": 0, "rows": {"accepted": 1000, "promoted": 999, "rejected": 1},
        }]))
        .unwrap();
        let lines = lines(&listed);
        assert_eq!(
            lines[1],
            "t        completed (dry run)  2026-01-01T00:00:00Z  2      2.00 KiB  3/3     1,000  999       1"
        );
    }
}
