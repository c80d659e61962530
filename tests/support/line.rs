//! A line to DynamoDB or S3 that counts the calls that go over it, and can go dead.

use super::Ground;
use anyhow::{Result, ensure};
use aws_config::SdkConfig;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// As `PutItem`; of S3 the method.
    pub(crate) operation: String,
    /// How long the table took.
    pub(crate) time: Duration,
}

/// What goes over a line.
struct Traffic {
    to: String,
    http: reqwest::Client,
    calls: Mutex<Vec<Call>>,
    /// The operations that do not get there any more.
    dead: Mutex<Vec<&'static str>>,
    /// Those that fail at once.
    broken: Mutex<Vec<&'static str>>,
    /// Those whose answers do not come back.
    deaf: Mutex<Vec<&'static str>>,
}

/// A line. It ends when it is dropped.
pub(crate) struct Line {
    traffic: Arc<Traffic>,
    server: JoinHandle<()>,
    /// What clients that use it are made of.
    pub(crate) aws: SdkConfig,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Line {
    /// A line to the emulator.
    pub(crate) async fn open(ground: &Ground) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let traffic = Arc::new(Traffic {
            to: ground.endpoints.aws_url.clone(),
            http: reqwest::Client::new(),
            calls: Mutex::default(),
            dead: Mutex::default(),
            broken: Mutex::default(),
            deaf: Mutex::default(),
        });
        let router = axum::Router::new().fallback(pass).with_state(Arc::clone(&traffic));
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { traffic, server, aws: ground.aws.clone().into_builder().endpoint_url(url).build() })
    }

    /// The calls that got there since this was asked the last time.
    pub(crate) fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut lock(&self.traffic.calls))
    }

    /// From here on these operations hang, and no others.
    pub(crate) fn hang(&self, operations: &[&'static str]) {
        *lock(&self.traffic.dead) = operations.to_vec();
    }

    /// From here on these operations fail at once, and no others.
    pub(crate) fn fail(&self, operations: &[&'static str]) {
        *lock(&self.traffic.broken) = operations.to_vec();
    }

    /// From here on these operations are done and not answered, and no others.
    pub(crate) fn lose(&self, operations: &[&'static str]) {
        *lock(&self.traffic.deaf) = operations.to_vec();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pass(State(traffic): State<Arc<Traffic>>, request: Request) -> Response {
    forward(&traffic, request).await.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

async fn forward(traffic: &Traffic, request: Request) -> Result<Response> {
    let (mut head, body) = request.into_parts();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or(head.method.as_str()).to_owned();
    let since = Instant::now();
    let is_dead = lock(&traffic.dead).contains(&operation.as_str());
    hang_if(is_dead).await;
    ensure!(!lock(&traffic.broken).contains(&operation.as_str()), "it is to fail");
    let body: Bytes = to_bytes(body, usize::MAX).await?;
    head.headers.remove("host");
    let request = traffic.http.request(head.method, format!("{}{}", traffic.to, head.uri)).headers(head.headers);
    let answer = request.body(body).send().await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != "transfer-encoding") {
        response = response.header(name, value);
    }
    let body = answer.bytes().await?;
    let is_lost = lock(&traffic.deaf).contains(&operation.as_str());
    let call = Call { operation, time: since.elapsed() };
    lock(&traffic.calls).push(call);
    hang_if(is_lost).await;
    Ok(response.body(Body::from(body))?)
}

async fn hang_if(condition: bool) {
    if condition {
        std::future::pending::<()>().await;
    }
}
