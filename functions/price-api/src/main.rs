//! Wires `price-api`.

use intake_aws::RateTable;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::{self, Edge, Limiter};
use intake_lambda::{http, telemetry};
use price_api::App;
use std::sync::Arc;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    let idempotency_table = environment.text("IDEMPOTENCY_TABLE");
    let rate_table = environment.text("RATE_TABLE");
    let quotas = edge::quotas(&mut environment);
    let follow_seconds = environment.number("FOLLOW_SECONDS");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let database = Arc::new(address.open(&aws, "price-api")?);
    let limiter = Limiter::new(RateTable::new(&aws, rate_table), quotas);
    let records = Records::new(&aws, idempotency_table, CLAIM_LIFETIME);
    let edge = Edge::new(Arc::clone(&database), records, limiter);
    let app = App { database, follow: Duration::from_secs(follow_seconds) };
    http::run(price_api::all().serve(Arc::new(app), Arc::new(edge))).await
}
