//! Answers that a browser may keep.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use intake_lambda::{Problem, http};
use sha2::{Digest, Sha256};
use std::io::Read;

/// Nothing of a page comes from, or goes to, another host. Swagger UI and ReDoc set styles of elements, and ReDoc
/// searches in a worker that it makes.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// How long something may be kept without asking.
#[derive(Clone, Copy)]
pub(crate) enum Keep {
    /// Not at all.
    Not,
    /// For ever: its name changes with its content.
    ForEver,
}

/// A body.
pub(crate) enum Content {
    /// As it is.
    Plain(String),
    /// Packed already.
    Gzip(&'static [u8]),
}

/// The answer with a body of that type, or 304 when the client has it.
pub(crate) fn answer(
    request: &HeaderMap,
    kind: &'static str,
    keep: Keep,
    content: Content,
) -> Result<Response, Problem> {
    let hash = Sha256::digest(match &content {
        Content::Plain(text) => text.as_bytes(),
        Content::Gzip(bytes) => bytes,
    });
    // weak: it is the same whether it is packed or not
    let tag = format!("W/\"{}\"", hex::encode(&hash[..8]));
    let mut response = if has(request, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        full(request, kind, content).map_err(|error| Problem::internal(&error))?
    };
    let keep = match keep {
        Keep::Not => "no-cache",
        Keep::ForEver => "public, max-age=31536000, immutable",
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, keep),
        (header::VARY, "accept, accept-encoding"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(HeaderValue::try_from(tag).map(|tag| (header::ETAG, tag)));
    Ok(response)
}

fn full(request: &HeaderMap, kind: &'static str, content: Content) -> std::io::Result<Response> {
    // a buffered answer is text, and the gateway packs it
    let is_packed = http::body_limit().is_none() && accepts_gzip(request);
    let mut unpacked = Vec::new();
    let bytes: Bytes = match content {
        Content::Gzip(bytes) if is_packed => Bytes::from_static(bytes),
        Content::Gzip(bytes) => {
            GzDecoder::new(bytes).read_to_end(&mut unpacked)?;
            unpacked.into()
        }
        Content::Plain(text) if is_packed => {
            GzEncoder::new(text.as_bytes(), Compression::fast()).read_to_end(&mut unpacked)?;
            unpacked.into()
        }
        Content::Plain(text) => text.into(),
    };
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_packed {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// Whether the client has what is of that tag.
fn has(request: &HeaderMap, tag: &str) -> bool {
    list(request, &header::IF_NONE_MATCH).any(|known| known == tag || known == "*")
}

/// Whether the client takes gzip.
fn accepts_gzip(request: &HeaderMap) -> bool {
    list(request, &header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refuses = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refuses
    })
}

/// The entries of a header that is a list.
pub(crate) fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        for (value, takes) in [("gzip, br", true), ("br;q=1, GZIP;q=0.5", true), ("gzip;q=0", false), ("br", false)] {
            assert_eq!(accepts_gzip(&headers(header::ACCEPT_ENCODING, value)), takes, "{value}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_a_client_has_is_not_sent_again() {
        let ask = |headers: &HeaderMap| {
            let answer = answer(headers, "text/plain", Keep::Not, Content::Plain("text".to_owned())).unwrap();
            (answer.status(), answer.headers()[header::ETAG].to_str().unwrap().to_owned())
        };
        let (status, tag) = ask(&HeaderMap::new());
        assert_eq!(status, StatusCode::OK);
        for known in [tag.clone(), format!("\"other\", {tag}"), "*".to_owned()] {
            assert_eq!(ask(&headers(header::IF_NONE_MATCH, &known)).0, StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(ask(&headers(header::IF_NONE_MATCH, "\"other\"")).0, StatusCode::OK);
    }
}
