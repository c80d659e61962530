//! `ingest-api`: upload sessions over HTTP. See README.md.

mod app;
mod routes;
mod upload;

use app::App;
use intake_aws::{Objects, Queue, idempotency};
use intake_lambda::auth::Authenticator;
use intake_lambda::config::Environment;
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
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
    let upload_queue = environment.text("UPLOAD_QUEUE_URL");
    let chunk_queues = LaneUrls::read(&mut environment, "CHUNK");
    let promotion_queues = LaneUrls::read(&mut environment, "PROMOTION");
    let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
    let part_bytes = environment.number("PART_BYTES");
    let webhook_allowed_hosts = environment.list("WEBHOOK_ALLOWED_HOSTS");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let app = Arc::new(App {
        database: Database::new(&database_url, "ingest-api")?,
        authenticator: Authenticator::default(),
        objects: Objects::new(&aws, bucket),
        idempotency: idempotency::Records::new(&aws, idempotency_table),
        uploads: Queue::new(&aws, upload_queue),
        chunks: Lanes::new(&aws, chunk_queues),
        turns: Turns { promotions: Lanes::new(&aws, promotion_queues), webhooks: Queue::new(&aws, webhook_queue) },
        part_bytes,
        webhook_allowed_hosts,
    });
    http::run(routes::all(app)).await
}
