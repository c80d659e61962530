//! Idempotency records: one conditional write claims a key, one more keeps the answer.

use crate::Error;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{Read, Write};

/// How long an answer is replayed, in seconds.
pub const LIFETIME_SECONDS: u64 = 24 * 3600;

/// How long a claim holds while its request runs, in seconds: longer than any gateway waits for an answer. After that the
/// request is taken for dead, and the next one with its key runs.
pub const CLAIM_SECONDS: u64 = 60;

/// The table of records.
#[derive(Clone)]
pub struct Records {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// An answer to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, byte for byte.
    pub body: String,
}

/// What a claim finds.
#[derive(Debug)]
pub enum Claim {
    /// The key is ours: run, then [`Records::keep`] or [`Records::release`].
    Ours,
    /// The same request was answered before.
    Answered(Answer),
    /// The same request is running.
    Running,
    /// The key was used for another request.
    OtherRequest,
}

impl Records {
    /// The records in that table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self { client: aws_sdk_dynamodb::Client::new(config), table }
    }

    /// Claims `id` for the request of this `fingerprint`, at `now` (seconds since 1970). Expiry is judged by `now`: the
    /// table removes expired records late.
    ///
    /// # Errors
    /// [`Error::Call`]; then it is unknown whether the key is claimed, and the request must not run.
    pub async fn claim(&self, id: &str, fingerprint: &str, now: u64) -> Result<Claim, Error> {
        let number = |seconds: u64| AttributeValue::N(seconds.to_string());
        let claimed = self
            .client
            .put_item()
            .table_name(&self.table)
            .item("id", AttributeValue::S(id.to_owned()))
            .item("fingerprint", AttributeValue::S(fingerprint.to_owned()))
            .item("claimed_until", number(now + CLAIM_SECONDS))
            .item("expires_at", number(now + LIFETIME_SECONDS))
            .condition_expression(
                "attribute_not_exists(id) or expires_at <= :now \
                 or (attribute_not_exists(answer_status) and claimed_until <= :now)",
            )
            .expression_attribute_values(":now", number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        let error = match claimed {
            Ok(_) => return Ok(Claim::Ours),
            Err(error) => error,
        };
        if let Some(refused) = error.as_service_error().filter(|error| error.is_conditional_check_failed_exception())
            && let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) =
                refused
        {
            return Ok(refused.item().map_or(Claim::Running, |record| read(record, fingerprint)));
        }
        Err(Error::call("PutItem")(error))
    }

    /// Keeps the answer of a claimed request. It is compressed: an answer full of presigned URLs is far over the 400 KB
    /// that an item may have, and repeats itself.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn keep(&self, id: &str, answer: &Answer) -> Result<(), Error> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        let packed = packed
            .write_all(answer.body.as_bytes())
            .and_then(|()| packed.finish())
            .map_err(|_| Error::Unreadable("an answer"))?;
        self.client
            .update_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_owned()))
            .update_expression("set answer_status = :status, answer_body = :body")
            .expression_attribute_values(":status", AttributeValue::N(answer.status.to_string()))
            .expression_attribute_values(":body", AttributeValue::B(packed.into()))
            .send()
            .await
            .map_err(Error::call("UpdateItem"))?;
        Ok(())
    }

    /// Gives a claim back: the request failed in a way that the next try may not.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub async fn release(&self, id: &str) -> Result<(), Error> {
        self.client
            .delete_item()
            .table_name(&self.table)
            .key("id", AttributeValue::S(id.to_owned()))
            .send()
            .await
            .map_err(Error::call("DeleteItem"))?;
        Ok(())
    }
}

fn read(record: &HashMap<String, AttributeValue>, fingerprint: &str) -> Claim {
    let text = |name: &str| record.get(name).and_then(|value| value.as_s().ok());
    if text("fingerprint").is_none_or(|known| known != fingerprint) {
        return Claim::OtherRequest;
    }
    let status = record.get("answer_status").and_then(|value| value.as_n().ok()?.parse().ok());
    let body = record.get("answer_body").and_then(|value| {
        let mut body = String::new();
        GzDecoder::new(value.as_b().ok()?.as_ref()).read_to_string(&mut body).ok()?;
        Some(body)
    });
    match (status, body) {
        (Some(status), Some(body)) => Claim::Answered(Answer { status, body }),
        _ => Claim::Running,
    }
}
