//! One configuration for every client.

use crate::Pending;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use std::time::Duration;

/// The configuration from the environment.
///
/// The behaviour version is pinned because versions change retries and timeouts. An attempt may stall for ten seconds
/// and an operation with its retries for thirty, which leaves every function time to answer.
pub fn load() -> Pending<'static, SdkConfig> {
    Box::pin(async move { loader().load().await })
}

/// That of an emulator at `url`, which takes any credentials.
pub fn load_from<'a>(url: &'a str) -> Pending<'a, SdkConfig> {
    Box::pin(async move {
        let credentials = Credentials::new("test", "test", None, None, "emulator");
        loader()
            .endpoint_url(url)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(credentials)
            .load()
            .await
    })
}

fn loader() -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(
        TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(2))
            .read_timeout(Duration::from_secs(10))
            .operation_timeout(Duration::from_secs(30))
            .build(),
    )
}
