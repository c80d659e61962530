//! Wires the function: the environment, the clients, the handler.

use crate::promote;
use intake_aws::{Objects, Queue};
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
use intake_lambda::{batch, telemetry};

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
        let promotions = LaneUrls::read(&mut environment, "PROMOTION");
        let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
        let metrics_queue = environment.text("METRICS_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let promotions = Lanes::new(&aws, promotions);
        let worker = promote::Worker {
            database: address.open(&aws, "promote-file")?,
            books: address.open(&aws, "promote-file books")?,
            objects: Objects::new(&aws, bucket),
            promotions: promotions.clone(),
            metrics: Queue::new(&aws, metrics_queue),
            turns: Turns { promotions, webhooks: Queue::new(&aws, webhook_queue) },
        };
        batch::run(async |body, delivery| worker.handle(body, delivery).await, async |body| worker.give_up(body).await)
            .await
    })
}
