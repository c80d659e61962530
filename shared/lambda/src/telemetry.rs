//! Logs: one JSON object a line on standard error, with ids as fields. Keys, tokens, presigned URLs and rows are never logged.

use tracing_subscriber::EnvFilter;

/// Starts logging at the level of `RUST_LOG`, `info` where it is not set.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // a second start in one process keeps the first
    let _ = subscriber.try_init();
}
