//! Wires the function: the environment, the clients, the handler.

use crate::{export, write};
use intake_aws::{Objects, Queue};
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
        let bucket = environment.text("UPLOAD_BUCKET");
        let part_bytes = environment.number("PART_BYTES");
        let export_queue = environment.text("EXPORT_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let worker = export::Worker {
            database: address.open(&aws, "run-export")?,
            books: address.open(&aws, "run-export books")?,
            objects: Objects::new(&aws, bucket),
            exports: Queue::new(&aws, export_queue),
            sizes: write::Sizes::of_parts(part_bytes),
        };
        batch::run(async |body, delivery| worker.handle(body, delivery).await, async |body| worker.give_up(body).await)
            .await
    })
}
