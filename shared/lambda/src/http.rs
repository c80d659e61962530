//! A router as a Lambda function behind API Gateway.

use crate::Run;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::response::Response;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use lambda_http::RequestExt;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::util::MapRequestLayer;
use lambda_http::tower::{Layer, Service, ServiceExt};
use lambda_runtime::{LambdaEvent, MetadataPrelude, StreamResponse, service_fn};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::convert::Infallible;
use std::sync::OnceLock;
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep};
use tracing::Span;

/// What a route may answer where answers are buffered, in bytes: the limit of a function is 6 MiB of JSON, in which a
/// body is a string with its quotes escaped.
const MAX_BUFFERED_BYTES: usize = 4 << 20;

/// How soon a body is noticed that nobody reads any more.
const MAX_SILENCE: Duration = Duration::from_millis(500);

/// Whether answers are streamed; set once, when the function starts.
static STREAMS: OnceLock<bool> = OnceLock::new();

/// How much a route may answer at once, in bytes; None where answers are sent while they are made.
#[must_use]
pub fn body_limit() -> Option<usize> {
    if STREAMS.get().is_some_and(|streams| *streams) { None } else { Some(MAX_BUFFERED_BYTES) }
}

/// Serves the routes as a Lambda function behind API Gateway. `RESPONSE_MODE` says how its integration wants to be
/// answered: `stream`, or `buffer`, which is also what is meant where it is not set.
///
/// # Errors
/// When the runtime ends, and for another `RESPONSE_MODE`.
pub fn run(routes: Router) -> Run {
    Box::pin(serve(routes))
}

async fn serve(routes: Router) -> Result<(), lambda_http::Error> {
    let streams = match std::env::var("RESPONSE_MODE").as_deref() {
        Ok("stream") => true,
        Ok("buffer" | "") | Err(_) => false,
        Ok(other) => return Err(format!("RESPONSE_MODE must be stream or buffer and is {other}").into()),
    };
    let streams = *STREAMS.get_or_init(|| streams);
    // routing must see the path already mended
    let service = MapRequestLayer::new(mend_path).layer(routes);
    if streams { run_streaming(service).await } else { lambda_http::run(service).await }
}

/// What the function is invoked with.
enum Event {
    Request(Box<LambdaRequest>),
    /// API Gateway is reported to invoke a function once more when a stream of it has ended, and not with a request.
    Other,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        Ok(serde_json::from_str(text.get()).map_or(Self::Other, |request| Self::Request(Box::new(request))))
    }
}

/// `lambda_http::run_with_streaming_response`, which reports an error for each event that is no request.
async fn run_streaming<S>(service: S) -> Result<(), lambda_http::Error>
where
    S: Service<lambda_http::Request, Response = Response, Error = Infallible> + Clone + 'static,
{
    let answer = |event: LambdaEvent<Event>| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(service, event).await) }
    };
    lambda_runtime::run(service_fn(answer)).await
}

/// The answer to an event: its head, and its body as it is made.
async fn answer<S>(service: S, event: LambdaEvent<Event>) -> StreamResponse<impl Stream<Item = StreamItem> + Unpin>
where
    S: Service<lambda_http::Request, Response = Response, Error = Infallible> + 'static,
{
    let response = match event.payload {
        Event::Request(request) => {
            let request = lambda_http::Request::from(*request).with_lambda_context(event.context);
            service.oneshot(request).await.unwrap_or_else(|never| match never {})
        }
        Event::Other => {
            tracing::debug!("an invocation without a request");
            Response::new(Body::empty())
        }
    };
    let (mut head, body) = response.into_parts();
    // what is made of the body while it is sent is said under the request's ids too
    let span = head.extensions.remove().unwrap_or_else(Span::none);
    let metadata_prelude = MetadataPrelude { status_code: head.status, headers: head.headers, cookies: Vec::new() };
    // The runtime would write the error into the body, as if it were a part of it. That a body broke off is seen by
    // what it does not end with.
    let mut body = body.into_data_stream().inspect_err(|error| tracing::error!(%error, "the answer broke off"));
    let body = stream::poll_fn(move |context| span.in_scope(|| body.poll_next_unpin(context)));
    let body = body.take_while(|piece| std::future::ready(piece.is_ok()));
    StreamResponse { metadata_prelude, stream: with_empty_pieces(body) }
}

/// A piece of a body.
type StreamItem = Result<Bytes, axum::Error>;

/// The body with an empty piece whenever there has been none for a while, of which nothing is sent. The runtime finds out
/// that nobody reads on only when it passes a piece on: a body that has nothing to say would go on working for nobody, beside
/// the requests that come next.
fn with_empty_pieces(mut body: impl Stream<Item = StreamItem> + Unpin) -> impl Stream<Item = StreamItem> + Unpin {
    let mut silence = Box::pin(sleep(MAX_SILENCE));
    stream::poll_fn(move |context| {
        let next = match body.poll_next_unpin(context) {
            Poll::Pending => {
                ready!(silence.as_mut().poll(context));
                Some(Ok(Bytes::new()))
            }
            Poll::Ready(piece) => piece,
        };
        silence.as_mut().reset(Instant::now() + MAX_SILENCE);
        Poll::Ready(next)
    })
}

/// By when the function must have ended its answer; `None` outside of Lambda.
pub struct Deadline(pub Option<SystemTime>);

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.lambda_context_ref().map(lambda_runtime::Context::deadline)))
    }
}

/// Takes the gateway's stage off the path, and the trailing slash: a path is the same with and without it.
fn mend_path<B>(mut request: axum::http::Request<B>) -> axum::http::Request<B> {
    let path = match request.raw_http_path() {
        "" => request.uri().path(),
        raw => raw,
    };
    let path = Some(path.trim_end_matches('/')).filter(|path| !path.is_empty()).unwrap_or("/");
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(path_and_query) = PathAndQuery::try_from(format!("{path}{query}")) {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::sync::{Arc, Mutex};
    use tokio::sync::mpsc;

    fn invocation(event: &str) -> LambdaEvent<Event> {
        LambdaEvent::new(serde_json::from_str(event).unwrap(), lambda_runtime::Context::default())
    }

    #[tokio::test]
    async fn a_request_is_streamed_and_what_is_none_is_answered_too() {
        let routes = Router::new().fallback(async || (StatusCode::CREATED, [("x-name", "value")], "made"));
        let request = include_str!("../../../events/ingest-api.create-session.json");
        for (event, status, body) in [
            (request, StatusCode::CREATED, "made"),
            ("{}", StatusCode::OK, ""),
            (r#"{"done":true}"#, StatusCode::OK, ""),
        ] {
            let answer = answer(routes.clone(), invocation(event)).await;
            assert_eq!(answer.metadata_prelude.status_code, status);
            assert_eq!(answer.metadata_prelude.headers.contains_key("x-name"), status == StatusCode::CREATED);
            let pieces: Vec<_> = answer.stream.try_collect().await.unwrap();
            assert_eq!(pieces.concat(), body.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_silent_body_is_dropped_with_its_reader() {
        let (body, pieces) = mpsc::channel::<&str>(1);
        let pieces = Arc::new(Mutex::new(Some(pieces)));
        let routes = Router::new().fallback(async move || {
            let pieces = pieces.lock().unwrap().take().unwrap();
            let next = async |mut pieces: mpsc::Receiver<_>| Some((Ok::<_, Infallible>(pieces.recv().await?), pieces));
            Body::from_stream(stream::unfold(pieces, next))
        });
        let mut answer =
            answer(routes, invocation(include_str!("../../../events/ingest-api.create-session.json"))).await;
        // as the runtime does it
        let (reader, mut read) = mpsc::channel(1);
        let runtime = tokio::spawn(async move {
            while let Some(piece) = answer.stream.next().await {
                if reader.send(piece).await.is_err() {
                    return;
                }
            }
        });
        assert_eq!(read.recv().await.unwrap().unwrap(), Bytes::new());
        drop(read);
        tokio::time::timeout(4 * MAX_SILENCE, runtime).await.expect("it noticed").unwrap();
        assert!(body.is_closed());
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_has_nothing_added() {
        let pieces = || stream::iter([Ok("begun"), Err(std::io::Error::other("lost")), Ok("more")]);
        let routes = Router::new().fallback(async move || Body::from_stream(pieces()));
        let answer = answer(routes, invocation(include_str!("../../../events/ingest-api.create-session.json"))).await;
        let pieces: Vec<_> = answer.stream.try_collect().await.unwrap();
        assert_eq!(pieces.concat(), b"begun");
    }
}
