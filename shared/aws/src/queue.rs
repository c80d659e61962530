//! A queue to send to. Receiving and deleting is the event source mapping's.

use crate::Error;
use aws_config::SdkConfig;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use serde::Serialize;

/// SQS takes so many messages in one call.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const BATCH: usize = 10;

/// How often the part of a batch that was refused is sent again.
const TRIES: usize = 4;

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
        for batch in messages.chunks(BATCH) {
            let mut entries = Vec::with_capacity(batch.len());
            for (at, message) in batch.iter().enumerate() {
                let body = serde_json::to_string(message).map_err(|_| Error::Unreadable("a message"))?;
                entries.push(
                    SendMessageBatchRequestEntry::builder()
                        .id(at.to_string())
                        .message_body(body)
                        .build()
                        .map_err(|_| Error::Unreadable("a message"))?,
                );
            }
            self.send_batch(entries).await?;
        }
        Ok(())
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
