//! Errors as clients see them: `application/problem+json` (RFC 9457).

mod code;

pub use code::{Code, FieldCode};

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use intake_domain::reject::RowError;
use serde::Serialize;
use utoipa::ToSchema;

/// The type of a problem's document.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One field of a request that is wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// The field, as a JSON pointer (RFC 6901) into the body; of a query or a header its name behind a slash.
    pub pointer: String,
    /// What is wrong.
    pub code: FieldCode,
    /// One sentence for people.
    pub detail: String,
}

impl FieldError {
    /// An error of the field that `pointer` names.
    #[must_use]
    pub fn new(pointer: impl Into<String>, code: FieldCode, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, detail: detail.into() }
    }
}

impl From<RowError> for FieldError {
    fn from(RowError { pointer, code, detail }: RowError) -> Self {
        Self { pointer, code: FieldCode::OfRow(code), detail }
    }
}

/// An error of a request.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<u32>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem of that code; `detail` is one sentence for people.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), retry_after: None, headers: Vec::new() }
    }

    /// 422 with the fields that are wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self::of_fields(Code::InvalidRequest, errors)
    }

    /// A problem of the fields that are wrong.
    #[must_use]
    pub fn of_fields(code: Code, errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{} {}", one.pointer, one.detail).trim_start().to_owned(),
            many => format!("{} fields are wrong", many.len()),
        };
        Self { errors, ..Self::new(code, detail) }
    }

    /// 400 for one parameter of the query.
    #[must_use]
    pub fn query(parameter: &str, code: FieldCode, detail: impl Into<String>) -> Self {
        Self::of_fields(Code::InvalidQuery, vec![FieldError::new(format!("/{parameter}"), code, detail)])
    }

    /// 404. It is also the answer for what another tenant has.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// Several problems of fields as one, of the first one's kind.
    #[must_use]
    pub fn together(problems: impl IntoIterator<Item = Self>) -> Self {
        let both =
            |one: Self, other: Self| Self::of_fields(one.code, one.errors.into_iter().chain(other.errors).collect());
        problems.into_iter().reduce(both).unwrap_or_else(Self::our_mistake)
    }

    /// 503: a query took longer than it may.
    #[must_use]
    pub fn query_timeout() -> Self {
        let detail = "the query took longer than it may; ask for less, or for a shorter time";
        Self::new(Code::QueryTimeout, detail).retry_after(2)
    }

    /// 503: a store cannot be reached. The cause is logged here and not told.
    #[must_use]
    pub fn unavailable(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = crate::batch::describe(cause), "store unavailable");
        Self::new(Code::Unavailable, "a store that the request needs does not answer").retry_after(2)
    }

    /// 500: our mistake. The cause is logged here and not told.
    #[must_use]
    pub fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = crate::batch::describe(cause), "request failed");
        Self::our_mistake()
    }

    /// 500 for a cause that is logged elsewhere.
    #[must_use]
    pub(crate) fn our_mistake() -> Self {
        Self::new(Code::Internal, "the request failed; its id helps to find out why")
    }

    /// Says when to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.code.status()
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The document, of the request of that id to that path.
    #[must_use]
    pub fn document<'a>(&'a self, request_id: Option<&'a str>, instance: Option<&'a str>) -> Document<'a> {
        let status = self.status();
        Document {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &self.detail,
            instance,
            code: self.code,
            request_id,
            errors: &self.errors,
            retry_after: self.retry_after,
            error: &self.detail,
        }
    }
}

impl From<intake_postgres::Error> for Problem {
    fn from(error: intake_postgres::Error) -> Self {
        match error {
            intake_postgres::Error::Connect(_) => Self::unavailable(&error),
            error if error.is_transient() => Self::unavailable(&error),
            error if error.is_lock_timeout() => {
                tracing::warn!(error = crate::batch::describe(&error), "others held what the request needs");
                Self::new(Code::Unavailable, "other requests hold what this one needs; it had no effect").retry_after(2)
            }
            error if error.is_timeout() => {
                tracing::warn!(error = crate::batch::describe(&error), "a query took too long");
                Self::query_timeout()
            }
            error => Self::internal(&error),
        }
    }
}

impl From<intake_aws::Error> for Problem {
    fn from(error: intake_aws::Error) -> Self {
        Self::unavailable(&error)
    }
}

/// A problem as it is written (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// Always `about:blank`: `code` says what kind it is.
    #[schema(example = "about:blank")]
    r#type: &'static str,
    /// The status in words.
    title: &'a str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// One sentence for people.
    detail: &'a str,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instance: Option<&'a str>,
    /// What kind of problem it is; stable.
    code: Code,
    /// By which the request is found in our logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<&'a str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// When to try again, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u32>,
    /// What the predecessor's clients read: `detail` once more.
    error: &'a str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.document(None, None)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey, Bearer"));
        }
        headers.extend(self.headers.iter().cloned());
        // whoever knows the request writes the document anew, with its id
        response.extensions_mut().insert(self);
        response
    }
}
