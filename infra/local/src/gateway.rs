//! API Gateway for the routes of the template: HTTP in, an event to the function, its answer out.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::environments::{Answer, BrokenStream, Function, Settings};
use crate::proxy::{self, Call};
use crate::routes::{Route, Routes};
use crate::runtime_api::{MAX_PAYLOAD_BYTES, RuntimeApi};

/// What a request has at most.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html>
const MAX_REQUEST_BYTES: usize = 10 << 20;

/// How much of a request that is too large is read nevertheless: a client that is still writing would see a broken
/// connection and not the answer.
const MAX_DISCARDED_BYTES: usize = 256 << 20;

/// The REST API as it is deployed.
#[derive(Debug, Deserialize)]
pub(crate) struct Api {
    id: String,
    stage: String,
    binary_media_types: Vec<String>,
    /// What the gateway itself answers, by the name of the case.
    gateway_responses: BTreeMap<String, GatewayResponse>,
    routes: Vec<Route>,
    functions: Vec<Settings>,
}

/// As a template has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GatewayResponse {
    status_code: Option<u16>,
    response_parameters: ResponseParameters,
    response_templates: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ResponseParameters {
    headers: BTreeMap<String, String>,
}

/// A case in which the gateway answers by itself, with its status where the template says nothing.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>
#[derive(Clone, Copy)]
enum Case {
    NoRoute,
    TooLarge,
    TimedOut,
    Failed,
}

impl Case {
    fn name(self) -> (&'static str, &'static str, StatusCode, &'static str) {
        const ALL_4XX: &str = "DEFAULT_4XX";
        const ALL_5XX: &str = "DEFAULT_5XX";
        match self {
            Self::NoRoute => {
                ("MISSING_AUTHENTICATION_TOKEN", ALL_4XX, StatusCode::FORBIDDEN, "Missing Authentication Token")
            }
            Self::TooLarge => ("REQUEST_TOO_LARGE", ALL_4XX, StatusCode::PAYLOAD_TOO_LARGE, "Request Too Long"),
            Self::TimedOut => {
                ("INTEGRATION_TIMEOUT", ALL_5XX, StatusCode::GATEWAY_TIMEOUT, "Endpoint request timed out")
            }
            Self::Failed => (ALL_5XX, ALL_5XX, StatusCode::BAD_GATEWAY, "Internal server error"),
        }
    }
}

/// Serves the routes.
pub(crate) struct Gateway {
    api: Api,
    routes: Routes,
    functions: BTreeMap<String, Arc<Function>>,
    runtime_api: RuntimeApi,
    /// Of the functions: why one could not answer stands beside what it said itself.
    log: File,
}

impl Gateway {
    pub(crate) fn new(mut api: Api, runtime_api: RuntimeApi, log: File) -> Arc<Self> {
        let functions = std::mem::take(&mut api.functions);
        let functions = functions.into_iter().map(|settings| (settings.name.clone(), Function::new(settings)));
        let routes = Routes::new(std::mem::take(&mut api.routes));
        Arc::new(Self { routes, functions: functions.collect(), api, runtime_api, log })
    }

    /// Ends the functions.
    pub(crate) fn stop(&self) {
        self.runtime_api.stop();
    }

    /// Answers a request.
    pub(crate) async fn answer(State(gateway): State<Arc<Self>>, request: Request) -> Response {
        let request_id = Uuid::new_v4().to_string();
        let mut response = match gateway.ask(request, &request_id).await {
            Ok(response) => response,
            Err(case) => gateway.refuse(case, &request_id),
        };
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amzn-requestid", id);
        }
        response
    }

    async fn ask(&self, request: Request, request_id: &str) -> Result<Response, Case> {
        let (head, body) = request.into_parts();
        let (route, parameters) = self.routes.find(head.method.as_str(), head.uri.path()).ok_or(Case::NoRoute)?;
        let function = self.functions.get(&route.function).ok_or(Case::Failed)?;
        let waits_for_leave = head.headers.contains_key(header::EXPECT);
        let body = whole(body, if waits_for_leave { 0 } else { MAX_DISCARDED_BYTES }).await.ok_or(Case::TooLarge)?;
        let call = Call {
            head: &head,
            body: &body,
            resource: &route.path,
            parameters,
            request_id,
            api_id: &self.api.id,
            stage: &self.api.stage,
        };
        let event = Bytes::from(call.event(&self.api.binary_media_types).to_string());
        if event.len() > MAX_PAYLOAD_BYTES {
            return Err(Case::TooLarge);
        }
        let deadline = Instant::now() + route.timeout();
        let asked = self.runtime_api.environments.invoke(function, request_id, event);
        let answer = timeout_at(deadline, asked).await.map_err(|_| Case::TimedOut)?;
        let accepted = proxy::media_type(&head.headers, header::ACCEPT);
        answer.and_then(|answer| self.response(answer, route, deadline, &head.method, accepted)).map_err(|error| {
            let line = json!({"request_id": request_id, "function": route.function, "error": format!("{error:#}")});
            let _ = writeln!(&self.log, "{line}"); // a full disk is no reason to fail
            Case::Failed
        })
    }

    /// A function's answer as the client gets it; a streamed one has until `deadline` to end.
    fn response(
        &self,
        answer: Answer,
        route: &Route,
        deadline: Instant,
        method: &Method,
        accepted: Option<&str>,
    ) -> Result<Response> {
        let (answer, body) = match answer {
            Answer::Streamed(prelude, pieces) if route.streams => {
                (proxy::Answer::parse(&prelude)?, Some(until(deadline, pieces)))
            }
            Answer::Buffered(whole) if !route.streams => (proxy::Answer::parse(&whole)?, None),
            Answer::Failed(cause) => anyhow::bail!("{} failed: {cause}", route.function),
            _ => anyhow::bail!(
                "{} {} and its function do not agree: ResponseTransferMode and RESPONSE_MODE go together",
                route.method,
                route.path
            ),
        };
        let (status, mut headers) = answer.head()?;
        let body = match body {
            Some(body) => body,
            None => answer.body(accepted, &self.api.binary_media_types)?.into(),
        };
        if method != Method::HEAD {
            headers.remove(header::CONTENT_LENGTH); // the server counts for itself
        }
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// What the gateway says by itself.
    fn refuse(&self, case: Case, request_id: &str) -> Response {
        let (name, family, status, message) = case.name();
        let responses = &self.api.gateway_responses;
        let response = responses.get(name).or_else(|| responses.get(family)).cloned().unwrap_or_default();
        let status = response.status_code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(status);
        let (content_type, body) = match response.response_templates.into_iter().next() {
            Some((content_type, template)) => (content_type, template.replace("$context.requestId", request_id)),
            None => ("application/json".to_owned(), json!({ "message": message }).to_string()),
        };
        let value = |text: &str| if text == "context.requestId" { request_id.to_owned() } else { unquoted(text) };
        let headers = response.response_parameters.headers.into_iter().map(|(name, text)| (name, value(&text)));
        let mut response = (status, body).into_response();
        for (name, text) in [("content-type".to_owned(), content_type)].into_iter().chain(headers) {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&text)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// A body that breaks off at the deadline.
fn until(deadline: Instant, pieces: mpsc::Receiver<Result<Bytes, BrokenStream>>) -> Body {
    Body::from_stream(stream::unfold(pieces, move |mut pieces| async move {
        let next = timeout_at(deadline, pieces.recv()).await;
        Some((next.unwrap_or(Some(Err(BrokenStream)))?, pieces))
    }))
}

/// A static value as a template writes it: `'*'`.
fn unquoted(text: &str) -> String {
    text.trim_matches('\'').to_owned()
}

/// A body whole; None when it is too large or breaks off. Reads on to the end then, up to `discarded` bytes.
async fn whole(mut body: Body, discarded: usize) -> Option<Bytes> {
    let (mut held, mut length) = (Vec::new(), 0);
    if body.size_hint().lower() > MAX_REQUEST_BYTES as u64 && discarded == 0 {
        return None;
    }
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        length += data.len();
        if length <= MAX_REQUEST_BYTES {
            held.extend_from_slice(&data);
        } else if length > MAX_REQUEST_BYTES + discarded {
            return None;
        } else {
            held = Vec::new();
        }
    }
    (length <= MAX_REQUEST_BYTES).then(|| held.into())
}

#[cfg(test)]
mod tests;
