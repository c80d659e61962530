//! An S3 that takes objects as fast as they come, and keeps how large they are: what writes them is measured without what keeps
//! them.

use anyhow::Result;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderName, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where objects go. It ends when it is dropped.
pub(crate) struct Sink {
    /// Where it is.
    pub(crate) url: String,
    bytes: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sink {
    pub(crate) async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (url, bytes) = (format!("http://{}", listener.local_addr()?), Arc::default());
        let router = axum::Router::new().fallback(take).with_state(Arc::clone(&bytes));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, bytes, server })
    }

    /// How many bytes it has been sent since this was asked the last time.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }
}

/// Begins an object of many parts, takes a part or a whole one, or ends one.
async fn take(State(bytes): State<Arc<AtomicU64>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    match head.method {
        Method::POST if query.split('&').any(|name| name.trim_end_matches('=') == "uploads") => {
            "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>".into_response()
        }
        Method::POST => {
            let _ = count(body).await;
            "<CompleteMultipartUploadResult><ETag>\"1\"</ETag></CompleteMultipartUploadResult>".into_response()
        }
        Method::PUT => match count(body).await {
            Ok(length) => {
                bytes.fetch_add(length, Ordering::Relaxed);
                ([(HeaderName::from_static("etag"), "\"1\"")], ()).into_response()
            }
            Err(_) => StatusCode::BAD_REQUEST.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn count(body: Body) -> Result<u64, axum::Error> {
    let (mut pieces, mut length) = (body.into_data_stream(), 0);
    while let Some(piece) = pieces.next().await {
        length += piece?.len() as u64;
    }
    Ok(length)
}
