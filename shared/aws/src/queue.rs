//! A queue to send to. Receiving and deleting is the event source mapping's.
//!
//! A message carries the trace of the work that sends it, as AWS X-Ray has it.

use crate::{Error, Pending, trace};
use aws_config::SdkConfig;
use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;

/// SQS takes so many messages in one call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const BATCH: usize = 10;

/// How often the part of a batch that was refused is sent again.
const TRIES: usize = 4;

/// SQS holds a message back for so long at most.
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);

/// A queue.
#[derive(Clone)]
pub struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

impl Queue {
    /// The queue of that URL.
    #[must_use]
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self { client: aws_sdk_sqs::Client::new(config), url }
    }

    /// Sends all messages, in batches.
    ///
    /// # Errors
    /// [`Error::Call`] when any of them is not certain to be in the queue; some may be, so whoever calls must stand their
    /// being sent twice.
    pub async fn send_all(&self, messages: &[impl Serialize]) -> Result<(), Error> {
        let bodies: Result<Vec<_>, _> = messages.iter().map(body).collect();
        self.send_bodies(bodies?).await
    }

    fn send_bodies(&self, bodies: Vec<String>) -> Pending<'_, Result<(), Error>> {
        Box::pin(async move {
            let attributes = attributes()?;
            for batch in bodies.chunks(BATCH) {
                let mut entries = Vec::with_capacity(batch.len());
                for (at, body) in batch.iter().enumerate() {
                    entries.push(
                        SendMessageBatchRequestEntry::builder()
                            .id(at.to_string())
                            .message_body(body)
                            .set_message_system_attributes(attributes.clone())
                            .build()
                            .map_err(|_| Error::Unreadable("a message"))?,
                    );
                }
                self.send_batch(entries).await?;
            }
            Ok(())
        })
    }

    /// Sends a message that nobody receives before `delay` is over, or 15 minutes if it is longer: SQS holds nothing back
    /// for more. Whoever receives it must see whether its time has come.
    /// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
    ///
    /// # Errors
    /// [`Error::Call`] when the message is not certain to be in the queue.
    pub async fn send_later(&self, message: &impl Serialize, delay: Duration) -> Result<(), Error> {
        self.send_body_later(body(message)?, delay).await
    }

    fn send_body_later(&self, body: String, delay: Duration) -> Pending<'_, Result<(), Error>> {
        Box::pin(async move {
            // rounded up, so that it does not come just before its time
            let seconds = delay.min(MAX_DELAY).as_secs_f64().ceil() as i32;
            let send = self.client.send_message().queue_url(&self.url).message_body(body).delay_seconds(seconds);
            send.set_message_system_attributes(attributes()?).send().await.map_err(Error::call("SendMessage"))?;
            Ok(())
        })
    }

    async fn send_batch(&self, mut entries: Vec<SendMessageBatchRequestEntry>) -> Result<(), Error> {
        for _ in 0..TRIES {
            let sent = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.clone()))
                .send()
                .await
                .map_err(Error::call("SendMessageBatch"))?;
            entries.retain(|entry| sent.failed().iter().any(|failed| failed.id() == entry.id()));
            if entries.is_empty() {
                return Ok(());
            }
        }
        let source = format!("{} messages were refused", entries.len()).into();
        Err(Error::Call { operation: "SendMessageBatch", code: None, source })
    }
}

fn body(message: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(message).map_err(|_| Error::Unreadable("a message"))
}

/// What a message says besides its body.
fn attributes() -> Result<Option<HashMap<SystemAttribute, MessageSystemAttributeValue>>, Error> {
    let Some(trace) = trace::current() else { return Ok(None) };
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace.header()).build();
    let value = value.map_err(|_| Error::Unreadable("a trace"))?;
    Ok(Some(HashMap::from([(SystemAttribute::AwsTraceHeader, value)])))
}
