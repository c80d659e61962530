//! Wires the function: the environment, the clients, the handler.

use crate::record;
use intake_aws::Queue;
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
        let chunk_queues = LaneUrls::read(&mut environment, "CHUNK");
        let promotion_queues = LaneUrls::read(&mut environment, "PROMOTION");
        let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let recorder = record::Recorder {
            database: address.open(&aws, "record-dead-letter")?,
            chunks: Lanes::new(&aws, chunk_queues),
            turns: Turns { promotions: Lanes::new(&aws, promotion_queues), webhooks: Queue::new(&aws, webhook_queue) },
        };
        // there is nowhere further to give it up to: it stays
        let keep = async |_: &str| Err("the dead letter cannot be recorded".into());
        batch::run(async |body, _| recorder.handle(body).await, keep).await
    })
}
