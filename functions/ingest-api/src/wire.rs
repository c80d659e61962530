//! Wires the function: the environment, the clients, the handler.

use crate::App;
use intake_aws::{Objects, Queue};
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::EdgeSettings;
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
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
        let address = DatabaseAddress::read(&mut environment);
        let bucket = environment.text("UPLOAD_BUCKET");
        let edge = EdgeSettings::read(&mut environment);
        let upload_queue = environment.text("UPLOAD_QUEUE_URL");
        let chunk_queues = LaneUrls::read(&mut environment, "CHUNK");
        let promotion_queues = LaneUrls::read(&mut environment, "PROMOTION");
        let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
        let part_bytes = environment.number("PART_BYTES");
        let webhook_allowed_hosts = environment.list("WEBHOOK_ALLOWED_HOSTS");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let database = Arc::new(address.open(&aws, "ingest-api")?);
        let edge = edge.build(&aws, &database);
        let app = App {
            database,
            objects: Objects::new(&aws, bucket),
            uploads: Queue::new(&aws, upload_queue),
            chunks: Lanes::new(&aws, chunk_queues),
            turns: Turns { promotions: Lanes::new(&aws, promotion_queues), webhooks: Queue::new(&aws, webhook_queue) },
            part_bytes,
            webhook_allowed_hosts,
        };
        http::run(crate::all().serve(Arc::new(app), edge)).await
    })
}
