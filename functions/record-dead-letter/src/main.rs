//! `record-dead-letter`: what was given up without a word is written into the ledger. See README.md.

mod letter;
mod record;

use intake_aws::Queue;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
use intake_lambda::{batch, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
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
}
