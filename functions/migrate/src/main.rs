//! `migrate`: applies the migrations at deploy time, as the owner of the schema. See README.md.

mod resource;

use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::telemetry;
use intake_postgres::Server;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let address = DatabaseAddress::read(&mut environment);
    environment.finish()?;
    let server = address.server(&intake_aws::load().await)?;
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        telemetry::invocation(&event.context, handle(&server, &event.payload)).await
    }))
    .await
}

/// Whoever invokes it gets an answer or an error; a deployment is told at the address that it gives, and goes on or is rolled
/// back.
async fn handle(server: &Server, event: &Value) -> Result<Value, Error> {
    let Some(request) = resource::Request::of(event) else {
        return Ok(json!({ "applied": migrate(server).await? }));
    };
    if request.is_removal() {
        request.succeed(json!({})).await?; // what the schema holds is not a deployment's to remove
        return Ok(Value::Null);
    }
    match migrate(server).await {
        Ok(applied) => request.succeed(json!({ "Applied": applied.join(",") })).await?,
        Err(error) => request.fail(&error).await?,
    }
    Ok(Value::Null)
}

async fn migrate(server: &Server) -> Result<Vec<String>, intake_postgres::Error> {
    let applied = intake_postgres::migrate_at(server).await.inspect_err(|error| {
        tracing::error!(error = error as &dyn std::error::Error, "migrations failed");
    })?;
    tracing::info!(applied = applied.len(), "migrations applied");
    Ok(applied)
}
