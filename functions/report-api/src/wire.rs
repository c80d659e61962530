//! Wires the function: the environment, the clients, the handler.

use crate::App;
use intake_aws::{Objects, Queue};
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::EdgeSettings;
use intake_lambda::{http, telemetry};
use std::sync::Arc;

/// Runs the function on the Lambda runtime.
///
/// # Errors
/// A missing or malformed variable of the environment; the end of the runtime.
pub fn run() -> Run {
    Box::pin(async {
        telemetry::start();
        let mut environment = Environment::default();
        let address = DatabaseAddress::read(&mut environment);
        let edge = EdgeSettings::read(&mut environment);
        let bucket = environment.text("UPLOAD_BUCKET");
        let export_queue = environment.text("EXPORT_QUEUE_URL");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let database = Arc::new(address.open(&aws, "report-api")?);
        let edge = edge.build(&aws, &database);
        let app = App { database, objects: Objects::new(&aws, bucket), exports: Queue::new(&aws, export_queue) };
        http::run(crate::all().serve(Arc::new(app), edge)).await
    })
}
