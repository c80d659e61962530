//! The trace of the work at hand, which messages carry on.
//!
//! One for the whole process: an execution environment of Lambda has one invocation at a time.
//! <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>

use intake_domain::trace::TraceId;
use std::sync::{Mutex, PoisonError};

static CURRENT: Mutex<Option<TraceId>> = Mutex::new(None);

/// The trace of the work at hand, where it is known.
#[must_use]
pub fn current() -> Option<TraceId> {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says which trace the work at hand belongs to, from here on.
pub fn set(trace: Option<TraceId>) {
    *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = trace;
}
