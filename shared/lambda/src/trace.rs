//! From the gateway to the last chunk, everything that a request brings about has one trace id. A request brings it in a
//! header, its session keeps it in the ledger, and messages carry it on. Where these differ the ledger's counts: a session
//! that is resumed goes on under its own.

use crate::telemetry;
use aws_lambda_events::sqs::SqsMessage;
use axum::http::Request;
use intake_domain::trace::{HEADER, TraceId};
use intake_postgres::ledger::File;
use lambda_runtime::Context;
use std::fmt::Display;
use std::time::SystemTime;
use tracing::Span;
use tracing::field::display;
use uuid::Uuid;

pub use intake_aws::trace::current;

/// The trace that a request belongs to: that of its header, else that of its invocation, else a new one.
#[must_use]
pub fn of_request<B>(request: &Request<B>) -> TraceId {
    let header = request.headers().get(HEADER).and_then(|header| TraceId::of_header(header.to_str().ok()?));
    let invocation = || of_invocation(request.extensions().get()?);
    header.or_else(invocation).unwrap_or_else(|| {
        let mut random = [0; 12];
        random.copy_from_slice(&Uuid::new_v4().as_bytes()[4..]);
        // in 2106 the seconds of a trace begin anew
        TraceId::new(crate::time::epoch_seconds(SystemTime::now()) as u32, random)
    })
}

/// The trace that a message carries.
#[must_use]
pub fn of_message(message: &SqsMessage) -> Option<TraceId> {
    TraceId::of_header(message.attributes.get("AWSTraceHeader")?)
}

/// The trace that AWS X-Ray has for an invocation.
#[must_use]
pub fn of_invocation(context: &Context) -> Option<TraceId> {
    TraceId::of_header(context.xray_trace_id.as_deref()?)
}

/// Says what the message at hand is about, in one of the fields that [`batch`](crate::batch) has for it: it stands in every
/// line of the log from here on.
pub fn about(field: &'static str, value: impl Display) {
    Span::current().record(field, display(value));
}

/// Says in which session's name the work at hand is done: its trace goes before that of the message.
pub fn adopt(trace: Option<TraceId>) {
    if let Some(trace) = trace {
        about("trace_id", trace);
        telemetry::follow(Some(trace));
    }
}

/// Says that the message at hand is about this file.
pub fn follow(file: &File) {
    about("tenant_id", file.key.tenant_id);
    about("session_id", file.key.session_id);
    about("file_id", file.key.file_id);
    adopt(file.trace);
}
