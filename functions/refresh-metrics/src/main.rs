//! `refresh-metrics`: days whose sales have changed are counted anew. See README.md.

mod refresh;

use intake_aws::Queue;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::{batch, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    let metrics_queue = environment.text("METRICS_QUEUE_URL");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let worker =
        refresh::Worker { database: address.open(&aws, "refresh-metrics")?, metrics: Queue::new(&aws, metrics_queue) };
    batch::run(async |body, _| worker.handle(body).await, async |body| refresh::give_up(body)).await
}
