//! The bucket: presigned uploads, fenced reads, staged objects.

mod removal;

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_sdk_s3::config::{RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a presigned URL can be used.
pub const URL_LIFETIME: Duration = Duration::from_secs(3600);

/// How often a broken read is resumed.
const RESUMES: usize = 5;

/// Lets a write succeed only where nothing lies yet.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>
const IF_NOTHING_IS_THERE: &str = "*";

/// S3 deletes so many objects in one call.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
const DELETE_BATCH: usize = 1000;

/// The bucket.
#[derive(Clone)]
pub struct Objects {
    client: aws_sdk_s3::Client,
    bucket: String,
}

/// A request that a client may make in our name.
#[derive(Debug)]
pub struct Presigned {
    /// Where to.
    pub url: String,
    /// Headers that are signed and must be sent as they are.
    pub headers: BTreeMap<String, String>,
}

/// What is known of an object without reading it.
#[derive(Debug)]
pub struct Head {
    /// Its version.
    pub etag: String,
    /// Its size.
    pub size_bytes: u64,
}

/// An uploaded part.
#[derive(Debug)]
pub struct Part {
    /// 1-based.
    pub number: i32,
    /// Its size.
    pub size_bytes: u64,
    /// Its version.
    pub etag: String,
}

impl Objects {
    /// The bucket of that name.
    #[must_use]
    pub fn new(config: &SdkConfig, bucket: String) -> Self {
        // a default checksum would be signed into presigned URLs, and no client would send it
        let config_builder = aws_sdk_s3::config::Builder::from(config)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // an endpoint of its own (an emulator) serves buckets by path
            .force_path_style(config.endpoint_url().is_some());
        Self { client: aws_sdk_s3::Client::from_conf(config_builder.build()), bucket }
    }

    fn lifetime() -> Result<PresigningConfig, Error> {
        Self::expires_in(URL_LIFETIME)
    }

    fn expires_in(lifetime: Duration) -> Result<PresigningConfig, Error> {
        PresigningConfig::expires_in(lifetime).map_err(|_| Error::Unreadable("a lifetime"))
    }

    /// A PUT of exactly so many bytes, and of exactly those where their SHA-256 is known. Where an object lies already, it
    /// is refused.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn presign_put<'a>(
        &'a self,
        key: &'a str,
        size_bytes: i64,
        sha256: Option<&'a [u8]>,
    ) -> Pending<'a, Result<Presigned, Error>> {
        Box::pin(async move {
            let request = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .content_length(size_bytes)
                .set_checksum_sha256(sha256.map(|digest| BASE64_STANDARD.encode(digest)))
                .if_none_match(IF_NOTHING_IS_THERE);
            let presigned = request.presigned(Self::lifetime()?).await.map_err(Error::call("presign PutObject"))?;
            Ok(Presigned::from(&presigned))
        })
    }

    /// Begins a multipart upload and returns its id.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn begin_multipart<'a>(&'a self, key: &'a str) -> Pending<'a, Result<String, Error>> {
        Box::pin(async move {
            let begun = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await
                .map_err(Error::call("CreateMultipartUpload"))?;
            begun.upload_id.ok_or(Error::Unreadable("an upload without an id"))
        })
    }

    /// A PUT of one part (1-based) of exactly so many bytes.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn presign_part<'a>(
        &'a self,
        key: &'a str,
        upload_id: &'a str,
        number: i32,
        size_bytes: i64,
    ) -> Pending<'a, Result<Presigned, Error>> {
        Box::pin(async move {
            let request = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .part_number(number)
                .content_length(size_bytes);
            let presigned = request.presigned(Self::lifetime()?).await.map_err(Error::call("presign UploadPart"))?;
            Ok(Presigned::from(&presigned))
        })
    }

    /// Uploads one part (1-based), whatever was uploaded as it before.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn put_part<'a>(
        &'a self,
        key: &'a str,
        upload_id: &'a str,
        number: i32,
        bytes: Bytes,
    ) -> Pending<'a, Result<Part, Error>> {
        Box::pin(async move {
            let size_bytes = bytes.len() as u64;
            let put = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .part_number(number)
                .body(bytes.into())
                .send()
                .await
                .map_err(Error::call("UploadPart"))?;
            let etag = put.e_tag.ok_or(Error::Unreadable("a part without a version"))?;
            Ok(Part { number, size_bytes, etag })
        })
    }

    /// A GET of an object, which a browser saves under that name, for so long, at most [`URL_LIFETIME`]. A `Range` of it may be
    /// asked for.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn presign_get<'a>(
        &'a self,
        key: &'a str,
        file_name: &'a str,
        content_type: &'a str,
        lifetime: Duration,
    ) -> Pending<'a, Result<Presigned, Error>> {
        Box::pin(async move {
            let request = self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(key)
                .response_content_disposition(format!("attachment; filename=\"{file_name}\""))
                .response_content_type(content_type);
            let lifetime = Self::expires_in(lifetime.min(URL_LIFETIME))?;
            let presigned = request.presigned(lifetime).await.map_err(Error::call("presign GetObject"))?;
            Ok(Presigned::from(&presigned))
        })
    }

    /// The parts that have arrived; `None` when there is no such upload (any more).
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn parts<'a>(&'a self, key: &'a str, upload_id: &'a str) -> Pending<'a, Result<Option<Vec<Part>>, Error>> {
        Box::pin(async move {
            let mut parts = Vec::new();
            let mut marker = None;
            loop {
                let listed = self
                    .client
                    .list_parts()
                    .bucket(&self.bucket)
                    .key(key)
                    .upload_id(upload_id)
                    .set_part_number_marker(marker.take())
                    .send()
                    .await
                    .map_err(Error::call("ListParts"));
                let page = match listed {
                    Err(error) if error.code() == Some("NoSuchUpload") => return Ok(None),
                    other => other?,
                };
                for part in page.parts() {
                    if let (Some(number), Some(etag), Some(size)) = (part.part_number, part.e_tag(), part.size) {
                        let size_bytes = u64::try_from(size).unwrap_or_default();
                        parts.push(Part { number, size_bytes, etag: etag.to_owned() });
                    }
                }
                marker =
                    page.next_part_number_marker().filter(|_| page.is_truncated() == Some(true)).map(str::to_owned);
                if marker.is_none() {
                    return Ok(Some(parts));
                }
            }
        })
    }

    /// Makes one object of the parts. Where an object lies already, that one stays, and the parts are dropped.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn complete_multipart<'a>(
        &'a self,
        key: &'a str,
        upload_id: &'a str,
        parts: Vec<Part>,
    ) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            let parts = parts
                .into_iter()
                .map(|part| CompletedPart::builder().part_number(part.number).e_tag(part.etag).build())
                .collect();
            let completed = self
                .client
                .complete_multipart_upload()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
                .if_none_match(IF_NOTHING_IS_THERE)
                .send()
                .await
                .map_err(Error::call("CompleteMultipartUpload"));
            match completed {
                Err(error) if error.code() == Some("PreconditionFailed") => self.abort_multipart(key, upload_id).await,
                other => other.map(drop),
            }
        })
    }

    /// Drops an upload with the parts that have arrived; one that is gone is no error.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn abort_multipart<'a>(&'a self, key: &'a str, upload_id: &'a str) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            let aborted = self
                .client
                .abort_multipart_upload()
                .bucket(&self.bucket)
                .key(key)
                .upload_id(upload_id)
                .send()
                .await
                .map_err(Error::call("AbortMultipartUpload"));
            match aborted {
                Err(error) if error.code() == Some("NoSuchUpload") => Ok(()),
                other => other.map(drop),
            }
        })
    }

    /// What is known of an object; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn head<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<Head>, Error>> {
        Box::pin(async move {
            match self.client.head_object().bucket(&self.bucket).key(key).send().await {
                Ok(head) => Ok(Some(Head {
                    etag: head.e_tag().ok_or(Error::Unreadable("an object without an ETag"))?.to_owned(),
                    size_bytes: u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default(),
                })),
                Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => Ok(None),
                Err(error) => Err(Error::call("HeadObject")(error)),
            }
        })
    }

    /// Calls `each` with the bytes `[start, end)` of one version of an object, in order. A read that breaks is resumed
    /// where it broke.
    async fn read(
        &self,
        key: &str,
        etag: &str,
        start: u64,
        end: u64,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        let mut at = start;
        let mut resumes = 0;
        while at < end {
            let got = self
                .client
                .get_object()
                .bucket(&self.bucket)
                .key(key)
                .if_match(etag)
                .range(format!("bytes={at}-{}", end - 1))
                .send()
                .await
                .map_err(Error::call("GetObject"));
            let mut body = match got {
                Err(error) if matches!(error.code(), Some("PreconditionFailed" | "NoSuchKey" | "InvalidRange")) => {
                    return Err(Error::ObjectReplaced);
                }
                other => other?.body,
            };
            loop {
                match body.next().await {
                    Some(Ok(bytes)) => {
                        at += bytes.len() as u64;
                        each(&bytes);
                    }
                    Some(Err(error)) if resumes < RESUMES => {
                        tracing::info!(at, error = %error, "broken read resumed");
                        resumes += 1;
                        break;
                    }
                    Some(Err(error)) => {
                        return Err(Error::Call { operation: "GetObject", code: None, source: Box::new(error) });
                    }
                    None if at < end && resumes < RESUMES => {
                        resumes += 1;
                        break;
                    }
                    None if at < end => return Err(Error::ObjectReplaced),
                    None => return Ok(()),
                }
            }
        }
        Ok(())
    }

    /// Appends the bytes `[start, end)` of one version of an object to `buffer`.
    ///
    /// # Errors
    /// [`Error::ObjectReplaced`] when the object is another one by now; [`Error::Call`].
    pub fn read_range<'a>(
        &'a self,
        key: &'a str,
        etag: &'a str,
        start: u64,
        end: u64,
        buffer: &'a mut BytesMut,
    ) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            buffer.reserve(usize::try_from(end.saturating_sub(start)).unwrap_or(0));
            self.read(key, etag, start, end, |bytes| buffer.extend_from_slice(bytes)).await
        })
    }

    /// The SHA-256 of one version of an object, in constant memory.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range).
    pub fn sha256<'a>(&'a self, key: &'a str, etag: &'a str, size_bytes: u64) -> Pending<'a, Result<[u8; 32], Error>> {
        Box::pin(async move {
            let mut digest = Sha256::new();
            self.read(key, etag, 0, size_bytes, |bytes| digest.update(bytes)).await?;
            Ok(digest.finalize().into())
        })
    }

    /// Writes an object where none lies yet, and returns its version. One that lies there is taken for this one: a write whose answer
    /// was lost is sent again.
    ///
    /// # Errors
    /// [`Error::Call`]; [`Error::Unreadable`] when the one that lay there is gone.
    pub fn create<'a>(&'a self, key: &'a str, object: Bytes) -> Pending<'a, Result<String, Error>> {
        Box::pin(async move {
            let put = self.client.put_object().bucket(&self.bucket).key(key).body(object.into());
            let put = put.if_none_match(IF_NOTHING_IS_THERE).send().await.map_err(Error::call("PutObject"));
            match put {
                Err(error) if error.code() == Some("PreconditionFailed") => {
                    let there =
                        self.head(key).await?.ok_or(Error::Unreadable("an object that was there and is gone"))?;
                    Ok(there.etag)
                }
                other => other?.e_tag.ok_or(Error::Unreadable("an object without a version")),
            }
        })
    }

    /// Writes an object, whatever lies there, and returns its version.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn put<'a>(&'a self, key: &'a str, object: Bytes) -> Pending<'a, Result<String, Error>> {
        Box::pin(async move {
            let put = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .body(object.into())
                .send()
                .await
                .map_err(Error::call("PutObject"))?;
            put.e_tag.ok_or(Error::Unreadable("an object without a version"))
        })
    }

    /// Reads an object; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn get<'a>(&'a self, key: &'a str) -> Pending<'a, Result<Option<Bytes>, Error>> {
        Box::pin(async move {
            let got =
                self.client.get_object().bucket(&self.bucket).key(key).send().await.map_err(Error::call("GetObject"));
            let got = match got {
                Err(error) if error.code() == Some("NoSuchKey") => return Ok(None),
                other => other?,
            };
            let broken = |error| Error::Call { operation: "GetObject", code: None, source: Box::new(error) };
            Ok(Some(got.body.collect().await.map_err(broken)?.into_bytes()))
        })
    }

    /// Removes objects; those that are not there are no error.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn delete<'a>(&'a self, keys: &'a [String]) -> Pending<'a, Result<(), Error>> {
        Box::pin(async move {
            for batch in keys.chunks(DELETE_BATCH) {
                let objects = batch
                    .iter()
                    .map(|key| ObjectIdentifier::builder().key(key).build())
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| Error::Unreadable("a key"))?;
                let delete = Delete::builder()
                    .set_objects(Some(objects))
                    .quiet(true)
                    .build()
                    .map_err(|_| Error::Unreadable("a key"))?;
                self.client
                    .delete_objects()
                    .bucket(&self.bucket)
                    .delete(delete)
                    .send()
                    .await
                    .map_err(Error::call("DeleteObjects"))?;
            }
            Ok(())
        })
    }
}

impl From<&PresignedRequest> for Presigned {
    fn from(request: &PresignedRequest) -> Self {
        let headers = request
            .headers()
            // the client's own HTTP library says the host
            .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Self { url: request.uri().to_owned(), headers }
    }
}
