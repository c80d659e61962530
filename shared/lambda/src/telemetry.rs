//! Logs and metrics: one JSON object a line on standard error. A line of the log has the ids of what it is about as fields
//! of its own; a line of metrics has the embedded metric format, which CloudWatch reads out of the log by itself. Keys,
//! tokens, presigned URLs and rows are never logged.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
//!
//! An execution environment has one invocation at a time, so what is said of it here holds for the whole process.

use crate::trace;
use intake_domain::trace::TraceId;
use json_subscriber::JsonLayer;
use lambda_runtime::Context;
use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;
use tracing::{Instrument, Level};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::prelude::*;

/// The namespace of all metrics.
const NAMESPACE: &str = "Intake";

/// The runtime's own span of an invocation repeats the spans of [`batch`](crate::batch) and the HTTP edge.
const LESS_OF_THE_RUNTIME: &str = "lambda_runtime::layers::trace=off";

/// All metrics and their units; README.md says what each one is. Every one has the dimension `FunctionName`. Tenants are
/// none: each value of a dimension is a metric of its own, and is paid for.
const METRICS: &[(&str, Unit)] = &[
    ("AcceptedRows", Unit::Count),
    ("AuditEntriesDropped", Unit::Count),
    ("ChunkLoadTime", Unit::Milliseconds),
    ("ChunkPromotionTime", Unit::Milliseconds),
    ("ColdStarts", Unit::Count),
    ("DaysCounted", Unit::Count),
    ("DeadLetters", Unit::Count),
    ("ExportTime", Unit::Milliseconds),
    ("ExportedRows", Unit::Count),
    ("FileTime", Unit::Milliseconds),
    ("GivenUpMessages", Unit::Count),
    ("IdempotentReplays", Unit::Count),
    ("MetricsRefreshTime", Unit::Milliseconds),
    ("PriceAnomalies", Unit::Count),
    ("PricesHeld", Unit::Count),
    ("PromotedRows", Unit::Count),
    ("RateLimitDenials", Unit::Count),
    ("RateLimitFallbacks", Unit::Count),
    ("RejectedRows", Unit::Count),
    ("RequestTime", Unit::Milliseconds),
    ("Requests", Unit::Count),
    ("Retries", Unit::Count),
    ("StockEvents", Unit::Count),
    ("WebhookCallTime", Unit::Milliseconds),
    ("WebhookDeliveries", Unit::Count),
    ("WebhookFailures", Unit::Count),
];

static RECORDER: OnceLock<&'static Collector> = OnceLock::new();

/// Starts logging and counting. `RUST_LOG` holds a level, or levels by target: `info,intake_postgres=debug`. Without it, and
/// where it cannot be parsed, the level is `info`.
pub fn start() {
    let levels = std::env::var("RUST_LOG").ok().filter(|levels| !levels.is_empty());
    let levels = format!("{},{LESS_OF_THE_RUNTIME}", levels.as_deref().unwrap_or("info"));
    let filter = levels.parse().unwrap_or_else(|_| Targets::new().with_default(Level::INFO));
    let mut lines = JsonLayer::<Registry>::stderr();
    lines.with_timer("timestamp", SystemTime).with_level("level").with_target("target");
    lines.with_flattened_event().with_top_level_flattened_span_list();
    // a second start in one process keeps the first
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();

    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "local".to_owned());
    let builder = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("FunctionName", function);
    let Ok(recorder) = builder.init() else { return };
    let _ = RECORDER.set(recorder);
    for (name, unit) in METRICS {
        match unit {
            Unit::Count => metrics::describe_counter!(*name, *unit, ""),
            _ => metrics::describe_histogram!(*name, *unit, ""),
        }
    }
    // one that was provisioned was started before anybody waited for it
    if std::env::var("AWS_LAMBDA_INITIALIZATION_TYPE").as_deref() != Ok("provisioned-concurrency") {
        metrics::counter!("ColdStarts").increment(1);
    }
}

/// Says which invocation the metrics are of from here on, and which trace it belongs to.
pub fn begin(request_id: &str, trace: Option<TraceId>) {
    if let Some(recorder) = RECORDER.get() {
        recorder.set_property("request_id", request_id);
    }
    follow(trace);
}

/// Does the work of an invocation with its id in every line of the log, and writes down what was counted.
pub async fn invocation<Work: Future>(context: &Context, work: Work) -> Work::Output {
    begin(&context.request_id, trace::of_invocation(context));
    let done = work.instrument(tracing::info_span!("invocation", request_id = context.request_id)).await;
    flush();
    done
}

/// Says which trace the invocation belongs to: its messages and metrics carry it from here on.
pub(crate) fn follow(trace: Option<TraceId>) {
    intake_aws::trace::set(trace);
    match (RECORDER.get(), trace) {
        (Some(recorder), Some(trace)) => drop(recorder.set_property("trace_id", trace.to_string())),
        (Some(recorder), None) => drop(recorder.remove_property("trace_id")),
        (None, _) => {}
    }
}

/// A time as it is measured.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Writes down what was counted since the last time: at the end of every invocation, and before a hundred values of one
/// metric have come together, for more do not fit into a line.
pub fn flush() {
    let Some(recorder) = RECORDER.get() else { return };
    let mut lines = Vec::new();
    // in one piece: on one machine, other functions write into the same file
    let written = recorder.flush(&mut lines).and_then(|()| std::io::stderr().write_all(&lines));
    if let Err(error) = written {
        tracing::error!(%error, "metrics are lost");
    }
}
