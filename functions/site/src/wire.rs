//! Wires the function: the environment, the clients, the handler.

use crate::App;
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::{http, telemetry};
use std::sync::Arc;

/// Runs the function on the Lambda runtime.
///
/// # Errors
/// A missing or malformed variable of the environment; the end of the runtime.
pub fn run() -> Run {
    Box::pin(async {
        telemetry::start();
        let mut environment = Environment::default();
        let bucket = environment.text("UPLOAD_ORIGIN");
        environment.finish()?;
        // whoever tells the SDK of another endpoint has presigned URLs lead there
        let upload_origin = std::env::var("AWS_ENDPOINT_URL").unwrap_or(bucket);
        http::run(crate::all().serve_open(Arc::new(App { upload_origin }))).await
    })
}
