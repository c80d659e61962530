//! The sample events of `events/`.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use uuid::Uuid;

/// A sample as it is, by its name without `.json`.
pub(crate) fn event(name: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../events/{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_str(&text)?)
}

/// The message in a sample of a queue's event.
pub(crate) fn message(name: &str) -> Result<String> {
    Ok(event(name)?["Records"][0]["body"].as_str().context("a message")?.to_owned())
}

/// What S3 says when the object of a file lands.
pub(crate) fn object_created(tenant: Uuid, session: Uuid, file: Uuid) -> Result<String> {
    let mut event: Value = serde_json::from_str(&message("plan-file.object-created")?)?;
    event["Records"][0]["s3"]["object"]["key"] = format!("tenants/{tenant}/sessions/{session}/{file}").into();
    Ok(event.to_string())
}
