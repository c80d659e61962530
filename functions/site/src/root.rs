//! Where the API is, seen from a page of it.

use axum::extract::Request;
use lambda_http::RequestExt;
use lambda_http::request::RequestContext;

/// The way from the path that a client asked for to the root of the API, as a relative reference; empty where it is the
/// root.
///
/// Behind a stage, `/live/api/docs/`, the function does not know how its paths begin; and it is asked for with and
/// without the slash at the end, which leads to different places.
pub(crate) fn root(request: &Request) -> String {
    let public = match request.extensions().get::<RequestContext>() {
        Some(RequestContext::ApiGatewayV1(context)) => context.path.as_deref(),
        _ => None,
    };
    reference(request.raw_http_path(), public)
}

/// The way out of `path`, which clients know as `public`.
fn reference(path: &str, public: Option<&str>) -> String {
    match (path.trim_start_matches('/'), public.and_then(|public| public.rsplit_once('/'))) {
        // the stage itself, without its slash
        ("", Some((_, stage))) if !stage.is_empty() => format!("{stage}/"),
        (path, _) => "../".repeat(path.matches('/').count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_finds_the_root() {
        for (path, public, found) in [
            ("/", "/live/", ""),
            ("/", "/live", "live/"),
            ("/", "/", ""),
            ("/api/docs", "/live/api/docs", "../"),
            ("/api/docs/", "/live/api/docs/", "../../"),
            ("/api/schema/swagger-ui/", "/api/schema/swagger-ui/", "../../../"),
        ] {
            assert_eq!(reference(path, Some(public)), found, "{public}");
        }
        assert_eq!(reference("", None), "");
    }
}
