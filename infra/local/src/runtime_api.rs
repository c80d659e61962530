//! The Lambda Runtime API, by which a function asks for its next request and answers it.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming>

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::environments::{Answer, BrokenStream, Environments, Prepare};
use crate::framing::Prelude;
use crate::quick_ack::QuickAck;

/// What a buffered answer has at most.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const MAX_PAYLOAD_BYTES: usize = 6 << 20;

/// Pieces of a streamed body between the function and the client.
const PIECES_AHEAD: usize = 4;

const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// The server, and the environments that ask it.
pub(crate) struct RuntimeApi {
    pub(crate) environments: Arc<Environments>,
    server: JoinHandle<()>,
}

impl RuntimeApi {
    pub(crate) async fn serve(prepare: Prepare) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let environments = Environments::new(listener.local_addr()?.to_string(), prepare);
        let app = Router::new()
            .route("/{environment}/2018-06-01/runtime/invocation/next", get(next))
            .route("/{environment}/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/{environment}/2018-06-01/runtime/invocation/{id}/error", post(error))
            // The runtime ends after it; what happened is in its log, and the request is given to another one.
            .route("/{environment}/2018-06-01/runtime/init/error", post(async || StatusCode::ACCEPTED))
            .with_state(Arc::clone(&environments));
        let server = tokio::spawn(async move { drop(axum::serve(QuickAck(listener), app).await) });
        Ok(Self { environments, server })
    }

    pub(crate) fn stop(&self) {
        self.environments.end();
        self.server.abort();
    }
}

async fn next(State(environments): State<Arc<Environments>>, Path(environment): Path<Uuid>) -> Response {
    let Some(environment) = environments.find(environment) else { return unknown() };
    let Some(taken) = environment.next().await else { return unknown() };
    let deadline_ms = taken.deadline.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", &taken.id),
        ("lambda-runtime-deadline-ms", &deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", environment.arn()),
    ];
    (headers, taken.event).into_response()
}

async fn response(
    State(environments): State<Arc<Environments>>,
    Path((environment, id)): Path<(Uuid, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(reply) = environments.find(environment).and_then(|environment| environment.reply(&id)) else {
        return unknown();
    };
    let streams = headers.get("lambda-runtime-function-response-mode").is_some_and(|mode| mode == "streaming");
    if streams {
        return pass_on(body, reply).await;
    }
    let (answer, told) = match to_bytes(body, MAX_PAYLOAD_BYTES).await {
        Ok(whole) => (Answer::Buffered(whole), StatusCode::ACCEPTED),
        Err(_) => {
            let cause = format!("its answer has more than {MAX_PAYLOAD_BYTES} bytes, or broke off");
            (Answer::Failed(cause), StatusCode::PAYLOAD_TOO_LARGE)
        }
    };
    let _ = reply.send(answer); // the client may have gone
    told.into_response()
}

async fn error(
    State(environments): State<Arc<Environments>>,
    Path((environment, id)): Path<(Uuid, String)>,
    body: Bytes,
) -> Response {
    let Some(reply) = environments.find(environment).and_then(|environment| environment.reply(&id)) else {
        return unknown();
    };
    let _ = reply.send(Answer::Failed(String::from_utf8_lossy(&body).into_owned()));
    StatusCode::ACCEPTED.into_response()
}

/// Passes a streamed answer on while it comes. It ends early when nobody reads it any more.
async fn pass_on(mut body: Body, reply: oneshot::Sender<Answer>) -> Response {
    let mut prelude = Prelude::default();
    let (head, begun) = loop {
        let piece = piece(&mut body).await;
        match piece.as_ref().map(|piece| prelude.push(piece)) {
            Some(Ok(Some(found))) => break found,
            Some(Ok(None)) => {}
            None | Some(Err(_)) => {
                let _ = reply.send(Answer::Failed("its stream has no prelude".to_owned()));
                return StatusCode::ACCEPTED.into_response();
            }
        }
    };
    let (pieces, rest) = mpsc::channel(PIECES_AHEAD);
    let _ = reply.send(Answer::Streamed(head, rest));
    let mut next = Ok(begun);
    loop {
        let is_broken = next.is_err();
        if pieces.send(next).await.is_err() || is_broken {
            return hang_up();
        }
        next = tokio::select! {
            piece = frame(&mut body) => match piece {
                Some(piece) => piece,
                None => return StatusCode::ACCEPTED.into_response(),
            },
            () = pieces.closed() => return hang_up(),
        };
    }
}

/// Closes the connection: the function notices that nobody reads on.
fn hang_up() -> Response {
    (StatusCode::ACCEPTED, [(header::CONNECTION, "close")]).into_response()
}

/// The next piece of a body; None at its end, however it comes.
async fn piece(body: &mut Body) -> Option<Bytes> {
    frame(body).await?.ok()
}

/// The next piece of a body. A function that fails after the head says so in the trailers.
async fn frame(body: &mut Body) -> Option<Result<Bytes, BrokenStream>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    let Ok(frame) = frame else { return Some(Err(BrokenStream)) };
    match frame.into_data() {
        Ok(data) => Some(Ok(data)),
        Err(frame) => {
            let trailers = frame.into_trailers().ok()?;
            trailers.contains_key(ERROR_TYPE).then_some(Err(BrokenStream))
        }
    }
}

/// The answer of the real one to a request that it did not give out.
fn unknown() -> Response {
    let told = r#"{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}"#;
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], told).into_response()
}
