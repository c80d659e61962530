//! Wires `report-api`.

use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_aws::{Objects, Queue, RateTable};
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::{self, Edge, Limiter};
use intake_lambda::{http, telemetry};
use report_api::App;
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    let idempotency_table = environment.text("IDEMPOTENCY_TABLE");
    let rate_table = environment.text("RATE_TABLE");
    let bucket = environment.text("UPLOAD_BUCKET");
    let export_queue = environment.text("EXPORT_QUEUE_URL");
    let quotas = edge::quotas(&mut environment);
    environment.finish()?;
    let aws = intake_aws::load().await;
    let database = Arc::new(address.open(&aws, "report-api")?);
    let limiter = Limiter::new(RateTable::new(&aws, rate_table), quotas);
    let records = Records::new(&aws, idempotency_table, CLAIM_LIFETIME);
    let edge = Edge::new(Arc::clone(&database), records, limiter);
    let app = App { database, objects: Objects::new(&aws, bucket), exports: Queue::new(&aws, export_queue) };
    http::run(report_api::all().serve(Arc::new(app), Arc::new(edge))).await
}
