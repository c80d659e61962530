//! `deliver-webhook`: tells a shop that its session has ended. See README.md.

mod call;
mod deliver;
mod event;

use intake_aws::Queue;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::{batch, telemetry};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
    let allowed_hosts = environment.list("WEBHOOK_ALLOWED_HOSTS");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let worker = deliver::Worker {
        database: address.open(&aws, "deliver-webhook")?,
        webhooks: Queue::new(&aws, webhook_queue),
        caller: call::Caller::new(allowed_hosts)?,
    };
    batch::run(async |body, _| worker.handle(body).await, async |body| worker.give_up(body).await).await
}
