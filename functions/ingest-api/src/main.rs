//! Wires `ingest-api`.

use ingest_api::App;
use intake_aws::idempotency::{CLAIM_LIFETIME, Records};
use intake_aws::{Objects, Queue, RateTable};
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::{self, Edge, Limiter};
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
use intake_lambda::{http, telemetry};
use std::sync::Arc;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    let bucket = environment.text("UPLOAD_BUCKET");
    let idempotency_table = environment.text("IDEMPOTENCY_TABLE");
    let rate_table = environment.text("RATE_TABLE");
    let quotas = edge::quotas(&mut environment);
    let upload_queue = environment.text("UPLOAD_QUEUE_URL");
    let chunk_queues = LaneUrls::read(&mut environment, "CHUNK");
    let promotion_queues = LaneUrls::read(&mut environment, "PROMOTION");
    let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
    let part_bytes = environment.number("PART_BYTES");
    let webhook_allowed_hosts = environment.list("WEBHOOK_ALLOWED_HOSTS");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let database = Arc::new(address.open(&aws, "ingest-api")?);
    let limiter = Limiter::new(RateTable::new(&aws, rate_table), quotas);
    let records = Records::new(&aws, idempotency_table, CLAIM_LIFETIME);
    let edge = Edge::new(Arc::clone(&database), records, limiter);
    let app = App {
        database,
        objects: Objects::new(&aws, bucket),
        uploads: Queue::new(&aws, upload_queue),
        chunks: Lanes::new(&aws, chunk_queues),
        turns: Turns { promotions: Lanes::new(&aws, promotion_queues), webhooks: Queue::new(&aws, webhook_queue) },
        part_bytes,
        webhook_allowed_hosts,
    };
    http::run(ingest_api::all().serve(Arc::new(app), Arc::new(edge))).await
}
