//! The front: the public paths on one port.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use axum::Router;
use axum::body::Body;
use axum::serve::ListenerExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::gateway::Gateway;
use crate::processes;

/// A client that keeps its connections.
pub(crate) fn client() -> Client<HttpConnector, Body> {
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
    gateway: Arc<Gateway>,
    server: JoinHandle<()>,
}

impl Front {
    pub(crate) fn serve(listener: TcpListener, gateway: Arc<Gateway>) -> Result<Self> {
        let port = listener.local_addr()?.port();
        let app = Router::new().fallback(Gateway::answer).with_state(Arc::clone(&gateway));
        // Without it, an answer in two writes waits 40 ms for the client's delayed ACK. Best effort: it only costs
        // time.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        // It ends when its task is dropped; a failed accept is retried by axum itself.
        let server = tokio::spawn(async move { drop(axum::serve(listener, app).await) });
        Ok(Self { port, gateway, server })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    pub(crate) fn stop(self) {
        self.server.abort();
        self.gateway.stop();
    }
}
