//! How clients are told to upload a file.

use intake_aws::{Error, Objects, URL_LIFETIME};
use intake_domain::object_key::FileKey;
use intake_domain::upload::{UploadPlan, part_size};
use intake_lambda::time::rfc3339;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::SystemTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// How to upload a file.
#[derive(Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Upload {
    /// PUT the file to the URL with exactly these headers.
    Put {
        #[schema(format = "uri")]
        url: String,
        headers: BTreeMap<String, String>,
        #[schema(format = DateTime)]
        expires_at: String,
    },
    /// PUT each part to its URL, then POST to the path.
    Multipart {
        part_size_bytes: u64,
        /// Parts that are there already; only where a session is resumed.
        #[serde(skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        arrived_parts: Option<Vec<u64>>,
        parts: Vec<UploadPart>,
        complete_path: String,
        #[schema(format = DateTime)]
        expires_at: String,
    },
}

/// One part of a file.
#[derive(Serialize, ToSchema)]
pub(crate) struct UploadPart {
    #[schema(minimum = 1)]
    part_number: u64,
    size_bytes: u64,
    #[schema(format = "uri")]
    url: String,
}

/// Where the parts of a file go.
pub(crate) struct Parts<'a> {
    /// Names the object.
    pub(crate) key: FileKey,
    /// What the client holds of the session.
    pub(crate) upload_token: Uuid,
    /// The multipart upload.
    pub(crate) upload_id: &'a str,
    /// The size of the file.
    pub(crate) size_bytes: u64,
    /// Bytes of every part but the last.
    pub(crate) part_bytes: u64,
    /// How many parts there are.
    pub(crate) count: u64,
}

/// The parts that a file's plan asks for. A file that was declared as multipart stays so whatever its plan is now.
pub(crate) fn parts_of(plan: UploadPlan, size_bytes: u64) -> (u64, u64) {
    match plan {
        UploadPlan::Parts { part_bytes, count } => (part_bytes, count),
        UploadPlan::Single => (size_bytes, 1),
    }
}

/// One PUT of the whole file, which S3 holds against the checksum where one was declared.
pub(crate) async fn presign_put(
    objects: &Objects,
    key: FileKey,
    size_bytes: i64,
    sha256: Option<&[u8]>,
) -> Result<Upload, Error> {
    let put = objects.presign_put(&key.to_string(), size_bytes, sha256).await?;
    Ok(Upload::Put { url: put.url, headers: put.headers, expires_at: expiry() })
}

/// A PUT of each part that has not `arrived`.
pub(crate) async fn presign_parts(
    objects: &Objects,
    of: &Parts<'_>,
    arrived: Option<Vec<u64>>,
) -> Result<Upload, Error> {
    let Parts { key, upload_token, upload_id, size_bytes, part_bytes, count } = *of;
    let has_arrived = |number: &u64| arrived.as_ref().is_some_and(|arrived| arrived.contains(number));
    let object = key.to_string();
    let mut parts = Vec::new();
    for part_number in (1..=count).filter(|number| !has_arrived(number)) {
        let size_bytes = part_size(size_bytes, part_bytes, part_number);
        // a number of parts, and a size, that S3 takes fits into these
        let part = objects.presign_part(&object, upload_id, part_number as i32, size_bytes as i64).await?;
        parts.push(UploadPart { part_number, size_bytes, url: part.url });
    }
    let complete_path = format!("/api/v1/ingest/sessions/{upload_token}/files/{}/complete", key.file_id);
    Ok(Upload::Multipart {
        part_size_bytes: part_bytes,
        arrived_parts: arrived,
        parts,
        complete_path,
        expires_at: expiry(),
    })
}

fn expiry() -> String {
    rfc3339(SystemTime::now() + URL_LIFETIME)
}
