//! Wires the function: the environment, the clients, the handler.

use crate::load;
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
        let chunks = LaneUrls::read(&mut environment, "CHUNK");
        let promotions = LaneUrls::read(&mut environment, "PROMOTION");
        let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let loader = load::Loader {
            database: address.open(&aws, "load-chunk")?,
            objects: Objects::new(&aws, bucket),
            chunks: Lanes::new(&aws, chunks),
            turns: Turns { promotions: Lanes::new(&aws, promotions), webhooks: Queue::new(&aws, webhook_queue) },
        };
        batch::run(
            async |body, delivery| loader.handle(body, delivery).await,
            async |body| loader.give_up_message(body).await,
        )
        .await
    })
}
