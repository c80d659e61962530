//! Batches of SQS messages: each is handled by itself, and only those that deserve another delivery are given back.
//! <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>

use crate::{LocalPending, telemetry, trace};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use lambda_runtime::{LambdaEvent, service_fn};
use std::error::Error;
use std::time::{Duration, SystemTime};
use tracing::Instrument;
use tracing::field::Empty;

/// How often a message is delivered before it goes to the dead letters; the template's `maxReceiveCount`.
pub const MAX_RECEIVES: u32 = 5;

/// Pauses before a failed message is tried again in place, in milliseconds. What was a hiccup is over by then; a message
/// given back stays hidden for the visibility timeout, which is many minutes.
const PAUSES_MS: [u64; 3] = [100, 500, 2_000];

/// A try is ended so long before the function would be, to leave time for giving the message back or up.
const RESERVE: Duration = Duration::from_secs(15);

/// What is known of a delivery besides the message.
#[derive(Clone, Copy, Debug)]
pub struct Delivery {
    /// Whether the message was delivered or tried before: then its work may be done and what follows not yet sent.
    pub is_retry: bool,
    /// When the function will be stopped.
    pub deadline: SystemTime,
}

/// The error of a message that is worth another delivery.
pub type Retry = Box<dyn Error + Send + Sync>;

/// Runs a function that receives messages. What `handle` returns an error for is delivered again; after the last delivery
/// `give_up` records the end where its owner can see it.
///
/// # Errors
/// When the runtime ends.
pub async fn run<H, G>(handle: H, give_up: G) -> Result<(), lambda_runtime::Error>
where
    H: AsyncFn(&str, Delivery) -> Result<(), Retry>,
    G: AsyncFn(&str) -> Result<(), Retry>,
{
    serve(&Pair { handle, give_up }).await
}

/// A handler as an object: the runtime's generic code is then compiled once, in this crate, and not once for each function.
trait Handler {
    fn handle<'a>(&'a self, body: &'a str, delivery: Delivery) -> Pending<'a>;
    fn give_up<'a>(&'a self, body: &'a str) -> Pending<'a>;
}

type Pending<'a> = LocalPending<'a, Result<(), Retry>>;

struct Pair<H, G> {
    handle: H,
    give_up: G,
}

impl<H, G> Handler for Pair<H, G>
where
    H: AsyncFn(&str, Delivery) -> Result<(), Retry>,
    G: AsyncFn(&str) -> Result<(), Retry>,
{
    fn handle<'a>(&'a self, body: &'a str, delivery: Delivery) -> Pending<'a> {
        Box::pin((self.handle)(body, delivery))
    }

    fn give_up<'a>(&'a self, body: &'a str) -> Pending<'a> {
        Box::pin((self.give_up)(body))
    }
}

fn serve(handler: &dyn Handler) -> LocalPending<'_, Result<(), lambda_runtime::Error>> {
    Box::pin(async move {
        lambda_runtime::run(service_fn(async |event: LambdaEvent<SqsEvent>| {
            let deadline = event.context.deadline();
            let mut response = SqsBatchResponse::default();
            for message in event.payload.records {
                let message_id = message.message_id.clone().unwrap_or_default();
                let receives = receives(&message);
                let request_id = &event.context.request_id;
                let trace = trace::of_message(&message).or_else(|| trace::of_invocation(&event.context));
                telemetry::begin(request_id, trace);
                let span = tracing::info_span!(
                    "message",
                    request_id,
                    message_id,
                    receives,
                    trace_id = trace.map(display),
                    tenant_id = Empty,
                    session_id = Empty,
                    file_id = Empty,
                    chunk_index = Empty,
                    webhook_id = Empty,
                    export_id = Empty,
                );
                if receives > 1 {
                    metrics::counter!("Retries").increment(1);
                }
                let body = message.body.unwrap_or_default();
                let done = async {
                    let Err(error) = persist(handler, &body, receives, deadline).await else {
                        return Ok(());
                    };
                    tracing::error!(error = describe(&*error), "message failed");
                    if receives < MAX_RECEIVES {
                        return Err(error);
                    }
                    metrics::counter!("GivenUpMessages").increment(1);
                    handler.give_up(&body).await
                };
                if done.instrument(span).await.is_err() {
                    response.add_failure(message_id);
                }
            }
            telemetry::flush();
            Ok::<_, lambda_runtime::Error>(response)
        }))
        .await
    })
}

/// Tries a message until it is handled or time or patience is up.
async fn persist(handler: &dyn Handler, body: &str, receives: u32, deadline: SystemTime) -> Result<(), Retry> {
    let mut pauses = PAUSES_MS.into_iter().map(Duration::from_millis);
    let mut is_retry = receives > 1;
    loop {
        let left = deadline.duration_since(SystemTime::now()).unwrap_or_default().saturating_sub(RESERVE);
        let tried = tokio::time::timeout(left, handler.handle(body, Delivery { is_retry, deadline })).await;
        let error = match tried {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err("time ran out".into()),
        };
        let Some(pause) = pauses.next() else {
            return Err(error);
        };
        tracing::warn!(error = describe(&*error), pause_ms = pause.as_millis(), "message failed, tried again");
        tokio::time::sleep(pause).await;
        metrics::counter!("Retries").increment(1);
        is_retry = true;
    }
}

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
