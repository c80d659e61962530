//! Follows a session until it has ended.

use std::time::{Duration, Instant};

use anyhow::ensure;
use indicatif::ProgressBar;
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::api::{Api, Bytes, Refusal, Rows, Status};
use crate::output::{Bar, Output, grouped};

/// How long the server may take to answer while nobody sees a bar: the most it agrees to.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// The same where a bar is seen, which shall move.
const BAR_WAIT: Duration = Duration::from_secs(2);

/// A session that stands still for so long is given up. One step of the server's, such as reading a compressed file
/// through, may take a quarter of an hour, and be done again.
const STALLED_AFTER: Duration = Duration::from_secs(45 * 60);

/// A server that cannot be reached for so long is given up.
const LOST_AFTER: Duration = Duration::from_secs(120);

/// What moves while a session goes on.
#[derive(Debug, PartialEq)]
struct Progress {
    state: String,
    completed_chunks: u64,
    total_chunks: u64,
    total_rows: u64,
    rows: Rows,
    bytes: Bytes,
    last_activity: Option<String>,
    files: Vec<String>,
}

impl Progress {
    fn of(status: &Status) -> Self {
        Self {
            state: status.state.clone(),
            completed_chunks: status.completed_chunks,
            total_chunks: status.total_chunks,
            total_rows: status.total_rows,
            rows: status.rows,
            bytes: status.bytes,
            last_activity: status.last_activity.clone(),
            files: status.files.iter().map(|file| file.state.clone()).collect(),
        }
    }

    fn line(&self) -> String {
        let Self { state, completed_chunks, total_chunks, total_rows, rows, .. } = self;
        let staged = if rows.staged > 0 { format!(", {} staged", grouped(rows.staged)) } else { String::new() };
        format!("{state}, {completed_chunks}/{total_chunks} chunks, {} rows{staged}", grouped(*total_rows))
    }
}

/// Looks at the session until it has ended; says what moves on the bar, or where no bar is seen, in lines.
pub async fn to_the_end(
    api: &Api,
    token: &str,
    bar: &ProgressBar,
    output: &Output,
    say: &dyn Fn(&str),
) -> anyhow::Result<Status> {
    Bar::Chunks.dress(bar);
    // It may have counted something else before.
    bar.set_length(0);
    bar.set_position(0);
    let wait = if output.interactive() { BAR_WAIT } else { LONGEST_WAIT };
    let (mut seen, mut said) = (None, String::new());
    let (mut moved, mut answered) = (Instant::now(), Instant::now());
    loop {
        let (status, pause) = match api.status(token, wait).await {
            Err(error) if !is_final(&error) && answered.elapsed() < LOST_AFTER => {
                say(&format!("note: {error:#}; trying again"));
                sleep(BAR_WAIT).await;
                continue;
            }
            answer => answer?,
        };
        answered = Instant::now();
        if status.terminal() {
            return Ok(status);
        }
        let progress = Progress::of(&status);
        bar.set_length(status.total_chunks);
        bar.set_position(status.completed_chunks);
        bar.set_message(format!("{}, {} rows", status.state, grouped(status.total_rows)));
        let line = progress.line();
        if !output.interactive() && line != said {
            say(&line);
            said = line;
        }
        if seen.as_ref() != Some(&progress) {
            (seen, moved) = (Some(progress), Instant::now());
        }
        let minutes = STALLED_AFTER.as_secs() / 60;
        ensure!(moved.elapsed() < STALLED_AFTER, "session {token} has not moved for {minutes} minutes");
        sleep(pause).await;
    }
}

/// Whether asking again is of no use: the server has refused, or says what nobody here understands.
fn is_final(error: &anyhow::Error) -> bool {
    let refused = |status: StatusCode| status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refused(refusal.status()))
        || error.downcast_ref::<serde_json::Error>().is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use serde_json::json;

    use super::*;
    use crate::stub::{Request, Stub};

    #[tokio::test]
    async fn the_server_is_let_wait_and_not_asked_in_between() {
        let asked = AtomicUsize::new(0);
        let stub = Stub::start(move |_: &Request, _| {
            let state = if asked.fetch_add(1, Ordering::Relaxed) < 2 { "loading" } else { "completed" };
            (
                200,
                "preference-applied: wait=20\r\nretry-after: 0.1",
                json!({"state": state, "total_rows": 7}).to_string(),
            )
        });
        let (api, output) = (Api::new(&stub.url, "key").unwrap(), Output::new(true));
        let bar = output.bar(0, Bar::Chunks);
        let status = to_the_end(&api, "token", &bar, &output, &|_| ()).await.unwrap();
        assert_eq!((status.state.as_str(), status.total_rows), ("completed", 7));
        let requests = stub.requests();
        assert_eq!(requests.len(), 3);
        for request in requests {
            assert_eq!(request.line, "GET /api/v1/ingest/sessions/token/status");
            assert!(request.headers.contains(&"prefer: wait=20".to_owned()), "{:?}", request.headers);
        }
    }

    #[tokio::test]
    async fn a_session_that_is_not_there_is_not_waited_for() {
        let stub = Stub::start(|_: &Request, _| (404, "", json!({"code": "NOT_FOUND"}).to_string()));
        let (api, output) = (Api::new(&stub.url, "key").unwrap(), Output::new(true));
        let bar = output.bar(0, Bar::Chunks);
        let error = to_the_end(&api, "token", &bar, &output, &|_| ()).await.unwrap_err();
        assert!(format!("{error:#}").contains("404, NOT_FOUND"), "{error:#}");
        assert_eq!(stub.requests().len(), 1);
    }
}
