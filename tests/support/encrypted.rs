//! A line to S3 on which objects have versions as those have that are encrypted with a key of KMS: an ETag is no digest of the
//! bytes there but another one for each write
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>). What was written past it keeps its version.

use super::Ground;
use anyhow::Result;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

/// An object's version as it is told, and as the emulator has it.
struct Version {
    told: HeaderValue,
    real: HeaderValue,
}

struct Bucket {
    to: String,
    http: reqwest::Client,
    /// By path.
    versions: Mutex<HashMap<String, Version>>,
}

/// A line. It ends when it is dropped.
pub(crate) struct Encrypted {
    /// Where it is.
    pub(crate) url: String,
    server: JoinHandle<()>,
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Encrypted {
    pub(crate) async fn open(ground: &Ground) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let to = ground.endpoints.aws_url.clone();
        let bucket = Bucket { to, http: reqwest::Client::new(), versions: Mutex::default() };
        let router = axum::Router::new().fallback(pass).with_state(Arc::new(bucket));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, server })
    }
}

async fn pass(State(bucket): State<Arc<Bucket>>, request: Request) -> Response {
    bucket.forward(request).await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

impl Bucket {
    async fn forward(&self, request: Request) -> Result<Response> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        if let Some(asked) = head.headers.get_mut(header::IF_MATCH)
            && let Some(version) = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&path)
        {
            if *asked != version.told {
                return Ok(
                    (StatusCode::PRECONDITION_FAILED, "<Error><Code>PreconditionFailed</Code></Error>").into_response()
                );
            }
            asked.clone_from(&version.real);
        }
        head.headers.remove(header::HOST);
        let sent = self.http.request(head.method.clone(), format!("{}{}", self.to, head.uri)).headers(head.headers);
        let answer = sent.body(to_bytes(body, usize::MAX).await?).send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers().iter().filter(|(name, _)| *name != header::TRANSFER_ENCODING) {
            response = response.header(name, value);
        }
        let (is_done, real) = (answer.status().is_success(), answer.headers().get(header::ETAG).cloned());
        let mut response = response.body(Body::from(answer.bytes().await?))?;
        if let Some(real) = real.filter(|_| is_done) {
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            if head.method == Method::PUT {
                let told = HeaderValue::try_from(format!("\"{}\"", Uuid::new_v4().simple()))?;
                versions.insert(path.clone(), Version { told, real: real.clone() });
            }
            if let Some(version) = versions.get(&path).filter(|version| version.real == real) {
                response.headers_mut().insert(header::ETAG, version.told.clone());
            }
        }
        Ok(response)
    }
}
