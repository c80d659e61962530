//! Requests and answers as API Gateway and a function exchange them: the Lambda proxy integration, version 1.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html>

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The front listens on this address alone, so that every client has it.
const SOURCE_IP: &str = "127.0.0.1";

/// A request on its way to a function.
pub(crate) struct Call<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) body: &'a [u8],
    /// The path of the route, and what its parameters are in this request.
    pub(crate) resource: &'a str,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) request_id: &'a str,
    pub(crate) api_id: &'a str,
    pub(crate) stage: &'a str,
}

impl Call<'_> {
    /// The event for the function.
    pub(crate) fn event(self, binary_media_types: &[String]) -> Value {
        let path = self.head.uri.path();
        let query = self.head.uri.query().unwrap_or_default();
        let mut headers =
            pairs(self.head.headers.iter().filter(|(name, _)| !is_hop_by_hop(name)).map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            }));
        let host = headers.entry("host".to_owned()).or_insert_with(|| vec!["localhost".to_owned()])[0].clone();
        let came_from = match headers.get("x-forwarded-for") {
            Some(earlier) => format!("{}, {SOURCE_IP}", earlier.join(", ")),
            None => SOURCE_IP.to_owned(),
        };
        headers.insert("x-forwarded-for".to_owned(), vec![came_from]);
        headers.insert("x-forwarded-proto".to_owned(), vec!["http".to_owned()]);
        let query = pairs(query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decoded(name), form_decoded(value))
        }));
        let is_binary = is_of(media_type(&self.head.headers, header::CONTENT_TYPE), binary_media_types);
        let body = match self.body {
            [] => Value::Null,
            body if is_binary => BASE64_STANDARD.encode(body).into(),
            body => String::from_utf8_lossy(body).into(),
        };
        let user_agent = headers.get("user-agent").map(|values| values[0].clone());
        json!({
            "resource": self.resource,
            "path": path,
            "httpMethod": self.head.method.as_str(),
            "headers": last_of_each(&headers),
            "multiValueHeaders": headers,
            "queryStringParameters": last_of_each(&query),
            "multiValueQueryStringParameters": some(query),
            "pathParameters": some(self.parameters),
            "stageVariables": null,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": self.api_id,
                "domainName": host,
                "extendedRequestId": self.request_id,
                "httpMethod": self.head.method.as_str(),
                "identity": {"sourceIp": SOURCE_IP, "userAgent": user_agent},
                "path": format!("/{}{path}", self.stage),
                "protocol": "HTTP/1.1",
                "requestId": self.request_id,
                "requestTimeEpoch": SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()),
                "resourcePath": self.resource,
                "stage": self.stage,
            },
            "body": body,
            "isBase64Encoded": is_binary && !self.body.is_empty(),
        })
    }
}

/// What stands before the body of an answer: the prelude of a streamed one, or a buffered one whole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Answer {
    status_code: Option<u16>,
    headers: Option<Map<String, Value>>,
    multi_value_headers: Option<Map<String, Value>>,
    cookies: Vec<String>,
    body: Option<String>,
    is_base64_encoded: bool,
}

impl Answer {
    /// Reads what a function answered.
    ///
    /// # Errors
    /// It is not JSON, or not of that shape.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).context("the function's answer is none to an API Gateway proxy event")
    }

    /// Status and headers. A streamed answer may leave the status out.
    pub(crate) fn head(&self) -> Result<(StatusCode, HeaderMap)> {
        let mut headers = HeaderMap::new();
        let several = self.multi_value_headers.iter().flatten();
        let is_several = |name: &str| self.multi_value_headers.iter().flatten().any(|(other, _)| other == name);
        let single = self.headers.iter().flatten().filter(|(name, _)| !is_several(name));
        let cookies: Vec<Value> = self.cookies.iter().map(|cookie| cookie.as_str().into()).collect();
        let cookies = (header::SET_COOKIE.to_string(), Value::Array(cookies));
        for (name, value) in single.chain(several).chain([(&cookies.0, &cookies.1)]) {
            let name: HeaderName = name.parse().with_context(|| format!("a header is named {name:?}"))?;
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                headers.append(&name, HeaderValue::from_str(&text).with_context(|| format!("{name} is {text:?}"))?);
            }
        }
        keep_end_to_end(&mut headers);
        Ok((StatusCode::from_u16(self.status_code.unwrap_or(200)).context("a status")?, headers))
    }

    /// The body of a buffered answer. Binary ones reach the client as such only if it accepts a binary media type;
    /// else as the base64 that they are.
    pub(crate) fn body(self, accepted: Option<&str>, binary_media_types: &[String]) -> Result<Bytes> {
        let body = self.body.unwrap_or_default();
        if self.is_base64_encoded && is_of(accepted, binary_media_types) {
            return Ok(BASE64_STANDARD.decode(body).context("the body is not base64")?.into());
        }
        Ok(body.into())
    }
}

/// Takes out what concerns one connection only.
fn keep_end_to_end(headers: &mut HeaderMap) {
    let gone: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

/// RFC 9110 §7.6.1, and what only the connection to the client has to do with.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    const NAMES: [&str; 8] = [
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

/// The first media type that a header names, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let value = headers.get(name)?.to_str().ok()?;
    value.split([',', ';']).next().map(str::trim)
}

/// Whether a media type is one of these, of which some may be ranges such as `image/*`.
fn is_of(media_type: Option<&str>, types: &[String]) -> bool {
    let Some(media_type) = media_type.map(str::to_ascii_lowercase) else { return false };
    types.iter().any(|wanted| match wanted.strip_suffix('*') {
        Some("*/") => true,
        Some(family) => media_type.starts_with(family),
        None => media_type == *wanted,
    })
}

fn pairs(all: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut pairs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in all {
        pairs.entry(name).or_default().push(value);
    }
    pairs
}

fn last_of_each(pairs: &BTreeMap<String, Vec<String>>) -> Value {
    let last = pairs.iter().filter_map(|(name, values)| Some((name.clone(), values.last()?.clone())));
    some(last.collect::<BTreeMap<_, _>>())
}

/// API Gateway sends null where there is nothing.
fn some<V: Into<Value>>(map: BTreeMap<String, V>) -> Value {
    if map.is_empty() { Value::Null } else { map.into_iter().collect() }
}

/// One name or value of a query string.
fn form_decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn event(request: axum::http::request::Builder, body: &[u8]) -> Value {
        let (head, ()) = request.body(()).unwrap().into_parts();
        let call = Call {
            head: &head,
            body,
            resource: "/a/{id}",
            parameters: BTreeMap::from([("id".to_owned(), "x/y".to_owned())]),
            request_id: "r-1",
            api_id: "abc",
            stage: "live",
        };
        call.event(&["multipart/form-data".to_owned(), "image/*".to_owned()])
    }

    #[test]
    fn an_event_is_what_api_gateway_sends() {
        let request = Request::post("/a/x%2Fy?q=a%20b&q=c+d&empty&e=")
            .header("host", "localhost:8000")
            .header("x-twice", "one")
            .header("x-twice", "two")
            .header("connection", "close")
            .header("content-type", "application/json");
        let event = event(request, "{\"name\": \"é\"}".as_bytes());
        assert_eq!(event["resource"], "/a/{id}");
        assert_eq!(event["path"], "/a/x%2Fy");
        assert_eq!(event["httpMethod"], "POST");
        assert_eq!(event["headers"]["x-twice"], "two");
        assert_eq!(event["multiValueHeaders"]["x-twice"], json!(["one", "two"]));
        assert_eq!(event["headers"]["x-forwarded-for"], "127.0.0.1");
        assert!(event["headers"]["connection"].is_null());
        assert_eq!(event["queryStringParameters"], json!({"q": "c d", "empty": "", "e": ""}));
        assert_eq!(event["multiValueQueryStringParameters"]["q"], json!(["a b", "c d"]));
        assert_eq!(event["pathParameters"], json!({"id": "x/y"}));
        assert_eq!(event["requestContext"]["path"], "/live/a/x%2Fy");
        assert_eq!(event["requestContext"]["requestId"], "r-1");
        assert_eq!(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&"{\"name\": \"é\"}".into(), &false.into()));
    }

    #[test]
    fn only_what_the_template_calls_binary_is_kept_byte_for_byte() {
        let bytes = [0, 255, 0x41];
        for (content_type, body, encoded) in [
            ("multipart/form-data; boundary=x", "AP9B", true),
            ("Multipart/Form-Data;boundary=x", "AP9B", true),
            ("image/png", "AP9B", true),
            ("application/json", "\0\u{fffd}A", false),
        ] {
            let event = event(Request::post("/a/b").header("content-type", content_type), &bytes);
            assert_eq!((&event["body"], &event["isBase64Encoded"]), (&body.into(), &encoded.into()), "{content_type}");
        }
        let event = event(Request::get("/a/b").header("content-type", "image/png"), b"");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&Value::Null, &false.into()));
        assert_eq!((&event["queryStringParameters"], &event["stageVariables"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn headers_of_both_kinds_are_merged() {
        let answer = Answer::parse(
            br#"{"statusCode": 201, "headers": {"a": "1", "b": 2, "connection": "close", "c": ["x", "y"]},
                "multiValueHeaders": {"a": ["3", "4"]}, "cookies": ["k=v"]}"#,
        );
        let (status, headers) = answer.unwrap().head().unwrap();
        let values = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(status, StatusCode::CREATED);
        assert_eq!((values("a"), values("b"), values("c")), (vec!["3", "4"], vec!["2"], vec!["x", "y"]));
        assert_eq!((values("set-cookie"), values("connection")), (vec!["k=v"], vec![]));
    }

    #[test]
    fn a_binary_answer_is_decoded_for_who_accepts_it() {
        let body = |accepted| {
            let answer = Answer::parse(br#"{"statusCode": 200, "body": "AP9B", "isBase64Encoded": true}"#).unwrap();
            answer.body(accepted, &["image/*".to_owned()]).unwrap()
        };
        assert_eq!(&body(Some("image/png"))[..], [0, 255, 0x41]);
        assert_eq!(&body(Some("text/plain"))[..], b"AP9B");
        assert_eq!(&body(None)[..], b"AP9B");
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert!(Answer::parse(b"\"text\"").is_err());
        assert!(Answer::parse(br#"{"statusCode": 99}"#).unwrap().head().is_err());
        assert!(Answer::parse(br#"{"headers": {"bad name": "x"}}"#).unwrap().head().is_err());
    }
}
