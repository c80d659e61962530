//! Wires `site`.

use intake_lambda::config::Environment;
use intake_lambda::{http, telemetry};
use site::App;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let bucket = environment.text("UPLOAD_ORIGIN");
    environment.finish()?;
    // whoever tells the SDK of another endpoint has presigned URLs lead there
    let upload_origin = std::env::var("AWS_ENDPOINT_URL").unwrap_or(bucket);
    http::run(site::all().serve_open(Arc::new(App { upload_origin }))).await
}
