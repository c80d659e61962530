//! Wires the function: the environment, the clients, the handler.

use crate::refresh;
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
        let metrics_queue = environment.text("METRICS_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let worker = refresh::Worker {
            database: address.open(&aws, "refresh-metrics")?,
            metrics: Queue::new(&aws, metrics_queue),
        };
        batch::run(async |body, _| worker.handle(body).await, async |body| refresh::give_up(body)).await
    })
}
