//! Signed URLs for services without an SDK crate here.

use crate::{Error, Pending};
use aws_config::SdkConfig;
use aws_sdk_s3::config::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use std::time::{Duration, SystemTime};
use url::Url;

/// Adds a signature (version 4) for a GET to the query of `url`; it is valid from `now` for `lifetime`. Calls nobody.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>
///
/// # Errors
/// [`Error::Unreadable`] without a region or credentials.
pub fn presign_get<'a>(
    config: &'a SdkConfig,
    service: &'a str,
    mut url: Url,
    lifetime: Duration,
    now: SystemTime,
) -> Pending<'a, Result<Url, Error>> {
    Box::pin(async move {
        let region = config.region().ok_or(Error::Unreadable("no region"))?;
        let provider = config.credentials_provider().ok_or(Error::Unreadable("no credentials"))?;
        let credentials = provider.provide_credentials().await.map_err(|_| Error::Unreadable("no credentials"))?;
        let identity = credentials.into();
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(lifetime);
        settings.signature_location = SignatureLocation::QueryParams;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region.as_ref())
            .name(service)
            .time(now)
            .settings(settings)
            .build()
            .map_err(|_| Error::Unreadable("the parameters of a signature"))?;
        let unsigned = |_| Error::Unreadable("a request to sign");
        let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]))
            .map_err(unsigned)?;
        let (signed, _) = sign(request, &parameters.into()).map_err(unsigned)?.into_parts();
        for (name, value) in signed.params() {
            url.query_pairs_mut().append_pair(name, value);
        }
        Ok(url)
    })
}
