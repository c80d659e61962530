//! Functions that take any event and answer it whole: a schedule's, a deployment's.

use crate::{LocalPending, telemetry};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// Runs a function that answers each event.
///
/// # Errors
/// When the runtime ends.
pub async fn run<H>(handle: H) -> Result<(), Error>
where
    H: AsyncFn(&Value) -> Result<Value, Error>,
{
    serve(&handle).await
}

trait Handler {
    fn handle<'a>(&'a self, event: &'a Value) -> LocalPending<'a, Result<Value, Error>>;
}

impl<H: AsyncFn(&Value) -> Result<Value, Error>> Handler for H {
    fn handle<'a>(&'a self, event: &'a Value) -> LocalPending<'a, Result<Value, Error>> {
        Box::pin(self(event))
    }
}

fn serve(handler: &dyn Handler) -> LocalPending<'_, Result<(), Error>> {
    Box::pin(async move {
        lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
            telemetry::invocation(&event.context, handler.handle(&event.payload)).await
        }))
        .await
    })
}
