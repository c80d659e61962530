//! Idempotency records: one conditional write claims a key, one more keeps the answer.

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use intake_domain::idempotency::{Answer, Claim, Found};
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// How long a claim holds while its request runs: as long as the gateway waits for an answer. After that the request is
/// taken for dead, and the next one with its key runs; if both run, PostgreSQL lets one of them have its effect.
pub const CLAIM_LIFETIME: Duration = Duration::from_secs(30);

/// How long one attempt of a call may take. The table answers within 10 ms; what takes longer is the first connection
/// of a new function, whose share of a core makes a TLS handshake a matter of 100 ms.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long a call may take with all its attempts: then whoever waits is told to come again.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is kept, in bytes as it is packed. An item has at most 400 KB, names and the other attributes
/// included. <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
const MAX_ANSWER_BYTES: usize = 390 << 10;

/// The table of records.
#[derive(Clone)]
pub struct Records {
    client: aws_sdk_dynamodb::Client,
    table: String,
    claim_lifetime: Duration,
}

impl Records {
    /// The records in that table. A claim holds for `claim_lifetime`, in whole seconds; [`CLAIM_LIFETIME`] is what the
    /// gateway asks for.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String, claim_lifetime: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(PATIENCE);
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .timeout_config(timeouts.build())
            .retry_config(RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(50)));
        Self { client: aws_sdk_dynamodb::Client::from_conf(config.build()), table, claim_lifetime }
    }

    /// Claims a key for a request of `tenant`: where nothing is found run it, then [`keep`](Self::keep) its answer or
    /// [`release`](Self::release) the claim. Expiry is judged by the claim's time: the table removes expired records
    /// late.
    ///
    /// # Errors
    /// [`Error::Call`] and [`Error::Unreadable`]; then it is unknown whether the key is claimed, and the request must
    /// not run.
    pub fn claim<'a>(&'a self, tenant: Uuid, claim: &'a Claim) -> Pending<'a, Result<Found, Error>> {
        Box::pin(async move {
            let number = |seconds: u64| AttributeValue::N(seconds.to_string());
            let claimed = self
                .client
                .put_item()
                .table_name(&self.table)
                .item("id", id(tenant, claim))
                .item("fingerprint", AttributeValue::B(claim.fingerprint.to_vec().into()))
                .item("claimed_by", claimed_by(claim))
                .item("claimed_until", number(claim.at + self.claim_lifetime.as_secs()))
                .item("expires_at", number(claim.expires_at()))
                .condition_expression(
                    "attribute_not_exists(id) or expires_at <= :now \
                     or (attribute_not_exists(answer) and claimed_until <= :now)",
                )
                .expression_attribute_values(":now", number(claim.at))
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send()
                .await;
            let error = match claimed {
                Ok(_) => return Ok(Found::Nothing),
                Err(error) => error,
            };
            if let Some(PutItemError::ConditionalCheckFailedException(refused)) = error.as_service_error() {
                return refused.item().map_or(Ok(Found::Running), |record| read(record, claim));
            }
            Err(Error::call("PutItem")(error))
        })
    }

    /// Keeps the answer of a claimed request; does nothing when its claim ran out and another request has the key. Says
    /// whether there is room for the answer: where there is none the claim stands as it stood.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn keep<'a>(&'a self, tenant: Uuid, claim: &'a Claim, answer: &'a Answer) -> Pending<'a, Result<bool, Error>> {
        Box::pin(async move {
            let packed = answer.pack();
            if packed.len() > MAX_ANSWER_BYTES {
                return Ok(false);
            }
            let kept = self
                .client
                .update_item()
                .table_name(&self.table)
                .key("id", id(tenant, claim))
                .update_expression("set answer = :answer")
                .condition_expression("claimed_by = :us")
                .expression_attribute_values(":answer", AttributeValue::B(packed.into()))
                .expression_attribute_values(":us", claimed_by(claim))
                .send()
                .await;
            match kept {
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
                {
                    Ok(true)
                }
                kept => kept.map(|_| true).map_err(Error::call("UpdateItem")),
            }
        })
    }

    /// Gives a claim back: its request had no effect, and the next one with its key may. Does nothing when the claim
    /// ran out and another request has the key.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn release<'a>(&'a self, tenant: Uuid, claim: &'a Claim) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            let released = self
                .client
                .delete_item()
                .table_name(&self.table)
                .key("id", id(tenant, claim))
                .condition_expression("claimed_by = :us")
                .expression_attribute_values(":us", claimed_by(claim))
                .send()
                .await;
            match released {
                Err(error)
                    if error.as_service_error().is_some_and(|error| error.is_conditional_check_failed_exception()) =>
                {
                    Ok(())
                }
                released => released.map(drop).map_err(Error::call("DeleteItem")),
            }
        })
    }
}

/// The key of a record.
fn id(tenant: Uuid, claim: &Claim) -> AttributeValue {
    AttributeValue::S(format!("{tenant} {}", hex::encode(claim.name)))
}

fn claimed_by(claim: &Claim) -> AttributeValue {
    AttributeValue::S(claim.id.to_string())
}

/// What a record says to whoever claims its key.
fn read(record: &HashMap<String, AttributeValue>, claim: &Claim) -> Result<Found, Error> {
    let bytes = |name: &str| record.get(name)?.as_b().ok();
    if bytes("fingerprint").is_none_or(|known| known.as_ref() != claim.fingerprint) {
        return Ok(Found::OtherRequest);
    }
    match bytes("answer") {
        Some(packed) => Answer::unpack(packed.as_ref()).map(Found::Answer).ok_or(Error::Unreadable("an answer")),
        // an attempt whose answer was lost had claimed it
        None if record.get("claimed_by") == Some(&claimed_by(claim)) => Ok(Found::Nothing),
        None => Ok(Found::Running),
    }
}
