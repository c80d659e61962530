//! CloudFormation's custom resources: a request by an event, an answer by HTTP.
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requesttypes.html>

use lambda_runtime::Error;
use serde::Deserialize;
use serde_json::{Value, json};
use std::error::Error as StdError;
use std::time::Duration;

/// An answer that does not arrive leaves the deployment waiting for the resource's timeout.
const TRIES: u32 = 5;

/// An answer may have so many bytes, its reason among them.
const MAX_REASON: usize = 1024;

/// What CloudFormation asks for.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Request {
    request_type: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
}

impl Request {
    /// The request that an event is, if it is one.
    pub(crate) fn of(event: &Value) -> Option<Self> {
        Self::deserialize(event).ok()
    }

    /// Whether the resource is to go.
    pub(crate) fn is_removal(&self) -> bool {
        self.request_type == "Delete"
    }

    /// Answers that it is done.
    pub(crate) async fn succeed(&self, data: Value) -> Result<(), Error> {
        self.answer(json!({ "Status": "SUCCESS", "Data": data })).await
    }

    /// Answers that it is not, and why.
    pub(crate) async fn fail(&self, error: &dyn StdError) -> Result<(), Error> {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        let end = reason.floor_char_boundary(MAX_REASON);
        self.answer(json!({ "Status": "FAILED", "Reason": &reason[..end] })).await
    }

    async fn answer(&self, mut answer: Value) -> Result<(), Error> {
        // Always the same: another one would make CloudFormation remove the one before.
        let id = self.physical_resource_id.as_deref().unwrap_or("schema");
        answer["PhysicalResourceId"] = id.into();
        answer["StackId"] = self.stack_id.as_str().into();
        answer["RequestId"] = self.request_id.as_str().into();
        answer["LogicalResourceId"] = self.logical_resource_id.as_str().into();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        let mut tries = 1;
        loop {
            // without a content type, since the URL was signed without one
            let sent = client.put(&self.response_url).body(answer.to_string()).send().await;
            match sent.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(()),
                Err(error) if tries == TRIES => return Err(error.without_url().into()),
                Err(error) => tracing::warn!(error = %error.without_url(), tries, "the answer did not arrive"),
            }
            tokio::time::sleep(Duration::from_secs(u64::from(tries))).await;
            tries += 1;
        }
    }
}
