//! Dead letters, and their way back into the queue that they are of.

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};

/// SQS gives and takes so many messages in one call.
const BATCH: i32 = 10;

/// How long a message that was taken out is hidden from others until it has been sent.
const HIDDEN_SECONDS: i32 = 60;

/// The dead letters of one queue.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: aws_sdk_sqs::Client,
    queue_url: String,
    url: String,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Those that can be taken out.
    pub visible: u64,
    /// Those that somebody works on, or that wait for it to be tried again.
    pub hidden: u64,
}

impl DeadLetters {
    /// The dead letters at `url`, of the queue at `queue_url`.
    #[must_use]
    pub fn new(config: &SdkConfig, queue_url: String, url: String) -> Self {
        Self { client: aws_sdk_sqs::Client::new(config), queue_url, url }
    }

    /// About how many there are.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn depth<'a>(&'a self) -> Pending<'a, Result<Depth, Error>> {
        Box::pin(async move {
            let (visible, hidden) = (
                QueueAttributeName::ApproximateNumberOfMessages,
                QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            );
            let asked = self.client.get_queue_attributes().queue_url(&self.url);
            let asked = asked.attribute_names(visible.clone()).attribute_names(hidden.clone());
            let found = asked.send().await.map_err(Error::call("GetQueueAttributes"))?;
            let number = |name| found.attributes()?.get(&name)?.parse().ok();
            Ok(Depth { visible: number(visible).unwrap_or(0), hidden: number(hidden).unwrap_or(0) })
        })
    }

    /// Sends up to ten back, each with the trace that it came with, and returns how many; 0 when there are none. A message is
    /// removed once it has been sent: whoever dies in between has sent it twice, which handlers stand.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn send_back<'a>(&'a self) -> Pending<'a, Result<usize, Error>> {
        Box::pin(async move {
            let received = self
                .client
                .receive_message()
                .queue_url(&self.url)
                .max_number_of_messages(BATCH)
                .visibility_timeout(HIDDEN_SECONDS)
                .wait_time_seconds(1)
                .message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader)
                .message_attribute_names("All")
                .send()
                .await
                .map_err(Error::call("ReceiveMessage"))?;
            let messages = received.messages();
            if messages.is_empty() {
                return Ok(0);
            }
            let entries =
                messages.iter().enumerate().map(|(at, message)| entry(at, message)).collect::<Result<_, _>>()?;
            let sent =
                self.client.send_message_batch().queue_url(&self.queue_url).set_entries(Some(entries)).send().await;
            let sent = sent.map_err(Error::call("SendMessageBatch"))?;
            let mut remove = Vec::with_capacity(messages.len());
            for success in sent.successful() {
                let message = success.id().parse::<usize>().ok().and_then(|at| messages.get(at));
                let message = message.ok_or(Error::Unreadable("an answer about a message"))?;
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(success.id())
                    .set_receipt_handle(message.receipt_handle().map(str::to_owned));
                remove.push(entry.build().map_err(|_| Error::Unreadable("a message"))?);
            }
            if let Some(refused) = sent.failed().first() {
                let source = format!("a message was refused: {}", refused.message().unwrap_or(refused.code())).into();
                if remove.is_empty() {
                    return Err(Error::Call {
                        operation: "SendMessageBatch",
                        code: Some(refused.code().to_owned()),
                        source,
                    });
                }
            }
            let count = remove.len();
            let removed =
                self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(remove)).send().await;
            removed.map_err(Error::call("DeleteMessageBatch"))?;
            Ok(count)
        })
    }
}

fn entry(at: usize, message: &Message) -> Result<SendMessageBatchRequestEntry, Error> {
    let trace = message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::AwsTraceHeader));
    let mut entry = SendMessageBatchRequestEntry::builder()
        .id(at.to_string())
        .message_body(message.body().unwrap_or_default())
        .set_message_attributes(message.message_attributes().cloned());
    if let Some(trace) = trace {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
        let value = value.map_err(|_| Error::Unreadable("a trace"))?;
        entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
    }
    entry.build().map_err(|_| Error::Unreadable("a message"))
}
