//! Extractors that refuse what they do not know, by name.

use crate::Problem;
use crate::problem::{Code, FieldCode, FieldError};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_path_to_error::Segment;
use std::fmt;
use std::marker::PhantomData;

/// A body of JSON, which is an object. Of a route that takes none too it is an `Option`.
///
/// The document may be nested 128 deep, which is where the parser stops.
///
/// # Errors
/// 400 for what is no JSON, 413, 415, and 422 with a pointer for JSON of another shape.
#[derive(Default)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = bytes(request, state).await?;
        if !is_json {
            return Err(Problem::new(Code::UnsupportedMediaType, "Content-Type must be application/json"));
        }
        parse(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let is_json = is_json(request.headers());
        let bytes = bytes(request, state).await?;
        if bytes.trim_ascii().is_empty() {
            return Ok(None);
        }
        if !is_json {
            return Err(Problem::new(Code::UnsupportedMediaType, "Content-Type must be application/json"));
        }
        parse::<Option<T>>(&bytes).map(|body| body.map(Self))
    }
}

/// A structure within a body. Serde alone would take an array for it, too, whose entries have no names.
#[derive(Clone, Debug, Default)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData)).map(Self)
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// Reads a body to its end.
///
/// # Errors
/// 413 for one that is larger than a function takes, 400 for one that breaks off.
pub async fn bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::PayloadTooLarge, "the body is larger than the route takes"),
        _ => Problem::new(Code::InvalidBody, error.body_text()),
    })
}

/// Whether a body is meant as JSON; where nothing is said, it is.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
        || essence.get(essence.len().saturating_sub(5)..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // serde would take an array for a structure whose names were left out
    if bytes.trim_ascii_start().first() == Some(&b'[') && serde_json::from_slice::<IgnoredAny>(bytes).is_ok() {
        return Err(Problem::invalid(vec![FieldError::new("", FieldCode::InvalidValue, "must be an object")]));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, error) = (error.path().clone(), error.into_inner());
        if error.is_data() {
            Problem::invalid(vec![refusal(&path, &error.to_string())])
        } else {
            Problem::new(Code::InvalidBody, format!("the body is no JSON: {error}"))
        }
    })?;
    json.end().map_err(|error| Problem::new(Code::InvalidBody, format!("the body is no JSON: {error}")))?;
    Ok(parsed)
}

/// The parameters of a path.
///
/// # Errors
/// 404: what is not even written as such a thing is none.
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path)).map_err(|_| Problem::not_found("path"))
    }
}

/// The parameters of a query.
///
/// # Errors
/// 400 with the name of a parameter that is unknown, doubled or has a value that it cannot have.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(query)).map(Self).map_err(|error| {
            let refusal = refusal(error.path(), &error.inner().to_string());
            Problem::of_fields(Code::InvalidQuery, vec![refusal])
        })
    }
}

/// What serde says of a field, with a pointer to it. It names a field that is unknown or missing in its text alone, and
/// the path is that of what should have had it.
fn refusal(path: &serde_path_to_error::Path, message: &str) -> FieldError {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let named = |prefix: &str| message.strip_prefix(prefix)?.split('`').next();
    let (name, code, detail) = match (named("unknown field `"), named("missing field `"), named("duplicate field `")) {
        (Some(name), ..) => (Some(name), FieldCode::UnknownField, "is no field that the route knows"),
        (_, Some(name), _) => (Some(name), FieldCode::MissingField, "is required"),
        (.., Some(name)) => (Some(name), FieldCode::InvalidValue, "is there twice"),
        _ => (None, FieldCode::InvalidValue, message),
    };
    let mut pointer = String::new();
    let mut push = |key: &str| pointer.extend(["/", &key.replace('~', "~0").replace('/', "~1")]);
    let mut last = None;
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&index.to_string()),
            Segment::Map { key } => push(key),
            Segment::Enum { .. } | Segment::Unknown => continue,
        }
        last = Some(segment);
    }
    if let Some(name) = name
        && !matches!(last, Some(Segment::Map { key }) if key == name)
    {
        push(name);
    }
    FieldError::new(pointer, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::value::RawValue;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        raw: Option<Box<RawValue>>,
        #[serde(default)]
        any: Option<serde_json::Value>,
        inner: Vec<Object<Inner>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "a/b")]
        size: u8,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refused = |text: &str| {
            let problem = parse::<Outer>(text.as_bytes()).err().map(|problem| {
                let document = serde_json::to_value(problem.document(None, None)).expect("a document");
                let error = document["errors"][0].clone();
                (problem.code(), error["pointer"].as_str().unwrap_or("-").to_owned(), error["code"].clone())
            });
            problem.unwrap_or_else(|| panic!("{text} is taken"))
        };
        for (text, pointer, code) in [
            (r#"{"inner":[],"x":1}"#, "/x", "UNKNOWN_FIELD"),
            (r#"{"inner":[{"a/b":1},{"a/b":1,"y":{}}]}"#, "/inner/1/y", "UNKNOWN_FIELD"),
            (r#"{"inner":[{}]}"#, "/inner/0/a~1b", "MISSING_FIELD"),
            (r#"{"inner":[{"a/b":300}]}"#, "/inner/0/a~1b", "INVALID_VALUE"),
            (r#"{"inner":[{"a/b":"1"}]}"#, "/inner/0/a~1b", "INVALID_VALUE"),
            (r#"{"inner":[],"inner":[]}"#, "/inner", "INVALID_VALUE"),
            (r#"{"inner":7}"#, "/inner", "INVALID_VALUE"),
            (r#"{"inner":[{"a/b":1},[1]]}"#, "/inner/1", "INVALID_VALUE"),
            ("{}", "/inner", "MISSING_FIELD"),
            ("[[1]]", "", "INVALID_VALUE"),
            (r#" [null, []]"#, "", "INVALID_VALUE"),
        ] {
            let refused = refused(text);
            assert_eq!(
                (refused.0, refused.1.as_str(), refused.2.as_str()),
                (Code::InvalidRequest, pointer, Some(code)),
                "{text}"
            );
        }
        let deep = format!("{{\"any\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{", "nonsense", r#"{"inner":[]} {}"#, &deep] {
            assert_eq!(refused(text).0, Code::InvalidBody);
        }
        let taken = parse::<Outer>(br#"{"raw":{"a":[1,  2]},"inner":[{"a/b":9}]}"#).expect("it is right");
        assert_eq!(taken.raw.expect("it is there").get(), r#"{"a":[1,  2]}"#);
        assert_eq!((taken.inner[0].0.size, taken.any), (9, None));
    }
}
