//! The slots of the rate limits: one conditional write takes what a request needs and tells how its item stands.

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use intake_domain::rate::{STALE_MS, Take};
use std::collections::HashMap;
use std::time::Duration;

/// How long an answer is waited for. The table answers within 10 ms; what takes longer is the first connection of a new
/// function, whose share of a core makes a TLS handshake a matter of 100 ms. Whoever waits in vain can decide without.
const PATIENCE: Duration = Duration::from_millis(500);

/// The table of slots: one attribute for each, which holds when it was last taken, in milliseconds since 1970.
pub struct RateTable {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

/// What became of a write.
#[derive(Debug)]
pub struct Outcome {
    /// Whether the slots are ours. If not, one of them was not free.
    pub is_taken: bool,
    item: HashMap<String, AttributeValue>,
}

impl Outcome {
    /// The slots of the item as they are now, by name, and when each was last taken.
    pub fn slots(&self) -> impl Iterator<Item = (&str, u64)> {
        self.item.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_n().ok()?.parse().ok()?)))
    }
}

impl RateTable {
    /// The slots in that table.
    #[must_use]
    pub fn new(config: &SdkConfig, table: String) -> Self {
        Self::with_patience(config, table, PATIENCE)
    }

    /// The slots in a table whose answers are waited for so long. Nothing is tried again: a second attempt would not know
    /// of the first, and take two slots for one request.
    #[must_use]
    pub fn with_patience(config: &SdkConfig, table: String, patience: Duration) -> Self {
        let config = aws_sdk_dynamodb::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(patience).build());
        Self { client: aws_sdk_dynamodb::Client::from_conf(config.build()), table }
    }

    /// Takes slots of the item `id`, all of them if they are free, else none.
    ///
    /// # Errors
    /// [`Error::Call`]; then it is unknown whether they were taken.
    pub fn take<'a>(&'a self, id: &'a str, take: &'a Take) -> Pending<'a, Result<Outcome, Error>> {
        Box::pin(async move {
            let number = |number: u64| AttributeValue::N(number.to_string());
            let names = |prefix, names: &[String]| -> Vec<_> {
                names.iter().enumerate().map(|(nth, name)| (format!("#{prefix}{nth}"), name.clone())).collect()
            };
            let (slots, stale) = (names('s', &take.slots), names('r', &take.stale));
            let are_since = |names: &[(String, String)], since| {
                let each = names.iter().map(|(name, _)| format!("(attribute_not_exists({name}) or {name} <= {since})"));
                each.collect::<Vec<_>>()
            };
            let mut condition = are_since(&slots, ":free");
            let mut update: String = slots.iter().map(|(name, _)| format!("{name} = :now, ")).collect();
            update = format!("set {update}expires_at = :expires");
            let mut request = self.client.update_item();
            if !stale.is_empty() {
                condition.extend(are_since(&stale, ":stale"));
                update += " remove ";
                update += &stale.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
                request = request.expression_attribute_values(":stale", number(take.stale_since()));
            }
            let sent = request
                .table_name(&self.table)
                .key("id", AttributeValue::S(id.to_owned()))
                .update_expression(update)
                .condition_expression(condition.join(" and "))
                .set_expression_attribute_names(Some(slots.into_iter().chain(stale).collect()))
                .expression_attribute_values(":now", number(take.at))
                .expression_attribute_values(":free", number(take.free_since()))
                // in seconds; from then on every slot of the item is stale
                .expression_attribute_values(":expires", number((take.at + STALE_MS).div_ceil(1_000)))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
                .send()
                .await;
            match sent {
                Ok(taken) => Ok(Outcome { is_taken: true, item: taken.attributes.unwrap_or_default() }),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        Ok(Outcome { is_taken: false, item: refused.item.clone().unwrap_or_default() })
                    }
                    _ => Err(Error::call("UpdateItem")(error)),
                },
            }
        })
    }
}
