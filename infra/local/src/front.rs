//! The front: the public paths on one port, passed to the emulator's REST API.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::processes;

/// A client that keeps its connections.
pub(crate) type HttpClient = Client<HttpConnector, Body>;

pub(crate) fn client() -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(Duration::from_secs(2)));
    // The emulator drops a connection that idles for 75 s.
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(60))
        .build(connector)
}

/// Takes the port before anything else is started, or says who has it.
pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await.map_err(|error| {
        let holder = processes::listener(port).map_or_else(|| error.to_string(), |name| format!("held by {name}"));
        anyhow!("port {port} cannot be taken: {holder}; set INTAKE_API_PORT to another one, or to 0 for any")
    })
}

/// The server behind the front address.
pub(crate) struct Front {
    port: u16,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Upstream {
    client: HttpClient,
    /// Authority and the path of the stage: `127.0.0.1:4566/restapis/{id}/live/_user_request_`.
    stage: String,
}

impl Front {
    pub(crate) fn serve(listener: TcpListener, emulator_port: u16, api_id: &str) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let stage = format!("127.0.0.1:{emulator_port}/restapis/{api_id}/live/_user_request_");
        let app = Router::new().fallback(forward).with_state(Upstream { client: client(), stage });
        // Without it, an answer in two writes waits 40 ms for the client's delayed ACK. Best effort: it only costs
        // time.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        // It ends when its task is dropped; a failed accept is retried by axum itself.
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { port, server })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub(crate) fn stop(self) {
        self.server.abort();
    }
}

async fn forward(State(upstream): State<Upstream>, mut request: Request) -> Response {
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = format!("http://{}{target}", upstream.stage).parse::<Uri>().context("form the address");
    let answer = match target {
        Ok(target) => {
            *request.uri_mut() = target;
            end_to_end(request.headers_mut());
            upstream.client.request(request).await.context("ask the emulator")
        }
        Err(error) => Err(error),
    };
    match answer {
        Ok(mut answer) => {
            end_to_end(answer.headers_mut());
            answer.map(Body::new)
        }
        Err(error) => bad_gateway(&error),
    }
}

/// Takes out what concerns one connection only (RFC 9110 §7.6.1).
fn end_to_end(headers: &mut HeaderMap) {
    const HOP_BY_HOP: [HeaderName; 6] = [
        header::CONNECTION,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

fn bad_gateway(error: &anyhow::Error) -> Response {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": "Bad Gateway",
        "status": 502,
        "detail": format!("the local emulator does not answer: {error:#}"),
        "code": "UNAVAILABLE",
        "error": "the local emulator does not answer",
    });
    let headers = [(header::CONTENT_TYPE, "application/problem+json"), (header::RETRY_AFTER, "1")];
    (StatusCode::BAD_GATEWAY, headers, body.to_string()).into_response()
}
