//! Wires `site`.

use intake_lambda::config::Environment;
use intake_lambda::{http, telemetry};
use site::App;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let upload_origin = environment.text("UPLOAD_ORIGIN");
    environment.finish()?;
    http::run(site::all().serve_open(Arc::new(App { upload_origin }))).await
}
