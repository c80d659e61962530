//! What can go wrong with AWS.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;

/// An error of an AWS service or of the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed after its retries.
    #[error("{operation} failed{}", .code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Call {
        /// Which.
        operation: &'static str,
        /// The service's own code.
        code: Option<String>,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The object is no longer the version that was asked for, or is gone.
    #[error("the object was replaced or removed")]
    ObjectReplaced,
    /// A message or record does not read as what was written.
    #[error("not readable: {0}")]
    Unreadable(&'static str),
}

impl Error {
    /// Wraps the SDK's error of an operation.
    pub(crate) fn call<E, R>(operation: &'static str) -> impl FnOnce(SdkError<E, R>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
        R: std::fmt::Debug + Send + Sync + 'static,
    {
        move |error| Self::Call { operation, code: error.code().map(str::to_owned), source: Box::new(error) }
    }

    /// The service's own code of a failed call.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Call { code, .. } => code.as_deref(),
            _ => None,
        }
    }
}
