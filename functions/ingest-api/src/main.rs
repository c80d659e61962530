//! `ingest-api`: upload sessions over HTTP. See README.md.

mod app;
mod routes;

use app::App;
use intake_aws::{Objects, idempotency};
use intake_lambda::auth::Authenticator;
use intake_lambda::config::Environment;
use intake_lambda::{http, telemetry};
use intake_postgres::Database;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let database_url = environment.text("DATABASE_URL");
    let bucket = environment.text("UPLOAD_BUCKET");
    let idempotency_table = environment.text("IDEMPOTENCY_TABLE");
    let part_bytes = environment.number("PART_BYTES");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let app = Arc::new(App {
        database: Database::new(&database_url, "ingest-api")?,
        authenticator: Authenticator::default(),
        objects: Objects::new(&aws, bucket),
        idempotency: idempotency::Records::new(&aws, idempotency_table),
        part_bytes,
    });
    http::run(routes::all(app)).await
}
