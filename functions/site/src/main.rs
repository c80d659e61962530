//! Wires `site`.

use intake_lambda::config::Environment;
use intake_lambda::{http, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    Environment::default().finish()?;
    http::run(site::all().serve_open(())).await
}
