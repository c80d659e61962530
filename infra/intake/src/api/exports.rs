//! Exports: ordered, looked at, and fetched.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::header::{CONTENT_RANGE, ETAG, IF_RANGE, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Api, read_json, retry_after};

/// Where an export stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Export {
    /// What it is known by.
    pub export_id: Uuid,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `expired`.
    pub status: String,
    /// Rows written.
    #[serde(default)]
    pub rows_done: u64,
    /// About how many there will be, once that is known.
    pub rows_estimated: Option<u64>,
    /// What the file is, once it is there.
    pub manifest: Option<Manifest>,
    /// Why there is none.
    pub error: Option<Value>,
}

/// What a file is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// Its digest in hexadecimal.
    pub sha256: String,
}

/// What storage answered.
pub enum Range {
    /// The rest of the file from where it was asked for, or all of it where `is_whole`.
    Body {
        /// The answer whose body it is.
        response: Response,
        /// Whether it begins with the first byte, whatever was asked for.
        is_whole: bool,
        /// The version of the file.
        etag: Option<String>,
    },
    /// The address is too old; there is another to be had.
    TooOld,
}

impl Api {
    /// Orders an export. Sent again under the same `idempotency_key`, it is the same export.
    pub async fn order_export(&self, tenant: Uuid, order: &RawValue, idempotency_key: &str) -> anyhow::Result<Uuid> {
        #[derive(Deserialize)]
        struct Ordered {
            export_id: Uuid,
        }
        let path = path(tenant, "");
        let request = || self.request(Method::POST, &path).header("Idempotency-Key", idempotency_key).json(order);
        let ordered: Ordered = read_json(self.send(request).await).await.context("cannot order the export")?;
        Ok(ordered.export_id)
    }

    /// Where an export stands, and when to ask again.
    pub async fn export(&self, tenant: Uuid, export: Uuid) -> anyhow::Result<(Export, Duration)> {
        let path = path(tenant, &format!("/{export}"));
        let response = self.send(|| self.request(Method::GET, &path)).await;
        let pause = response.as_ref().ok().and_then(retry_after).unwrap_or(Duration::from_secs(1));
        Ok((read_json(response).await.with_context(|| format!("cannot look at export {export}"))?, pause))
    }

    /// A fresh address of an export's file.
    pub async fn export_address(&self, tenant: Uuid, export: Uuid) -> anyhow::Result<String> {
        let path = path(tenant, &format!("/{export}/download"));
        // not followed by itself: the key is not meant for whom the address leads to
        let response = self.send(|| self.request_unfollowed(Method::GET, &path)).await;
        let response = response.with_context(|| format!("cannot download export {export}"))?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        location.map(str::to_owned).context("the server does not say where the file is")
    }

    /// Asks storage for a file from byte `from` on, if it still is the version `etag`; else for all of it. One try.
    pub async fn export_range(&self, address: &str, from: u64, etag: Option<&str>) -> anyhow::Result<Range> {
        let mut request = self.streams.get(address);
        let resumes = from > 0 && etag.is_some();
        if let Some(etag) = etag.filter(|_| resumes) {
            request = request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, etag);
        }
        // an address carries a signature, which is as good as a key
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = header(ETAG);
        let is_whole = match response.status() {
            StatusCode::OK => true,
            StatusCode::PARTIAL_CONTENT => {
                let starts = header(CONTENT_RANGE).is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
                if !starts {
                    bail!("storage answered another range than was asked for");
                }
                false
            }
            // not found: the file has expired, which the server says where it is asked for another address
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => return Ok(Range::TooOld),
            status => bail!("storage answered {status}"),
        };
        Ok(Range::Body { response, is_whole, etag })
    }
}

fn path(tenant: Uuid, rest: &str) -> String {
    format!("/api/v1/tenants/{tenant}/reports/export{rest}")
}
