//! `load-chunk`: the lines of one chunk become staged rows and rejects. See README.md.

mod load;
mod validate;

use intake_aws::{Objects, Queue};
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
}
