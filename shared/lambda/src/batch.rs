//! Batches of SQS messages: each is handled by itself, and only those that deserve another delivery are given back.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{LambdaEvent, service_fn};
use std::error::Error;
use std::time::{Duration, SystemTime};
use tracing::Instrument;

/// How often a message is delivered before it goes to the dead letters; the template's `maxReceiveCount`.
pub const MAX_RECEIVES: u32 = 5;

/// What is known of a delivery besides the message.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Whether there is no other delivery after this one.
    pub is_last: bool,
    /// When the function will be stopped.
    pub deadline: SystemTime,
}

/// The error of a message that is worth another delivery.
pub type Retry = Box<dyn Error + Send + Sync>;

/// Runs a function that receives messages. What `handle` returns an error for is delivered again.
///
/// # Errors
/// When the runtime ends.
pub async fn run<H, Work>(handle: H) -> Result<(), lambda_runtime::Error>
where
    H: Fn(String, Delivery) -> Work,
    Work: Future<Output = Result<(), Retry>>,
{
    lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let deadline = event.context.deadline();
        let mut response = SqsBatchResponse::default();
        for message in event.payload.records {
            let message_id = message.message_id.clone().unwrap_or_default();
            let receives = receives(&message);
            let delivery = Delivery { is_last: receives >= MAX_RECEIVES, deadline };
            let span = tracing::info_span!("message", request_id = event.context.request_id, message_id, receives);
            let body = message.body.unwrap_or_default();
            let done = persist(&handle, &body, delivery).instrument(span.clone()).await;
            if let Err(error) = done {
                span.in_scope(|| tracing::error!(error = describe(&*error), "message failed"));
                response.add_failure(message_id);
            }
        }
        Ok::<_, lambda_runtime::Error>(response)
    }))
    .await
}

/// Pauses before a failed message is tried again in place, in milliseconds. What was a hiccup is over by then; a delivery
/// given back stays hidden for the visibility timeout, which is many minutes.
const PAUSES_MS: [u64; 3] = [100, 500, 2_000];

async fn persist<H, Work>(handle: &H, body: &str, delivery: Delivery) -> Result<(), Retry>
where
    H: Fn(String, Delivery) -> Work,
    Work: Future<Output = Result<(), Retry>>,
{
    for pause in PAUSES_MS.map(Duration::from_millis) {
        // whoever handles the last delivery gives up for good: that is not for a try that is followed by another
        let error = match handle(body.to_owned(), Delivery { is_last: false, ..delivery }).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if SystemTime::now() + pause + RESERVE > delivery.deadline {
            return if delivery.is_last { handle(body.to_owned(), delivery).await } else { Err(error) };
        }
        tracing::warn!(error = describe(&*error), pause_ms = pause.as_millis(), "message failed, tried again");
        tokio::time::sleep(pause).await;
    }
    handle(body.to_owned(), delivery).await
}

/// What a try needs at least.
const RESERVE: Duration = Duration::from_secs(20);

fn receives(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// An error with its causes, in one line.
#[must_use]
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
