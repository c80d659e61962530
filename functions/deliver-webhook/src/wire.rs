//! Wires the function: the environment, the clients, the handler.

use crate::{call, deliver};
use intake_aws::Queue;
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
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
    })
}
