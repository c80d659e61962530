//! Wires the function: the environment, the clients, the handler.

use crate::App;
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::edge::EdgeSettings;
use intake_lambda::{http, telemetry};
use std::sync::Arc;
use std::time::Duration;

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
        let follow_seconds = environment.number("FOLLOW_SECONDS");
        environment.finish()?;
        let aws = intake_aws::load().await;
        let database = Arc::new(address.open(&aws, "price-api")?);
        let edge = edge.build(&aws, &database);
        let app = App { database, follow: Duration::from_secs(follow_seconds) };
        http::run(crate::all().serve(Arc::new(app), edge)).await
    })
}
