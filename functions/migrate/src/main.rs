//! `migrate`: applies the migrations at deploy time, as the owner of the schema. See README.md.

use intake_lambda::config::Environment;
use intake_lambda::telemetry;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let database_url = environment.text("DATABASE_URL");
    environment.finish()?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let migrate = async {
            let applied = intake_postgres::migrate(&database_url).await?;
            tracing::info!(applied = applied.len(), "migrations applied");
            Ok::<_, Error>(json!({ "applied": applied }))
        };
        telemetry::invocation(&event.context, migrate).await
    }))
    .await
}
