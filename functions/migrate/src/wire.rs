//! Wires the function: the environment, the clients, the handler.

use crate::resource;
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::{invocation, telemetry};
use intake_postgres::Server;
use lambda_runtime::Error;
use serde_json::{Value, json};

/// Runs the function on the Lambda runtime.
///
/// # Errors
/// A missing or malformed variable of the environment; the end of the runtime.
pub fn run() -> Run {
    Box::pin(async {
        telemetry::start();
        let mut environment = Environment::default();
        let address = DatabaseAddress::read(&mut environment);
        environment.finish()?;
        let server = address.server(&intake_aws::load().await)?;
        invocation::run(async |event| handle(&server, event).await).await
    })
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
