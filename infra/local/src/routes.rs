//! Which function serves a request: the paths of the REST API, told apart as API Gateway does.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// What a route takes whose method is `ANY`.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-method-settings-method-request.html>
const ANY: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// One method of one path, as it is deployed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Route {
    pub(crate) method: String,
    /// The path with its `{parameters}`; the last may be greedy: `{proxy+}`.
    pub(crate) path: String,
    /// The name of the function.
    pub(crate) function: String,
    /// Whether the answer is passed on while it comes: `ResponseTransferMode: RESPONSE_STREAM`.
    pub(crate) streams: bool,
    timeout_ms: u64,
}

impl Route {
    /// How long an answer, or the head of a streamed one, is waited for.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// The paths, each with its methods.
pub(crate) struct Routes(Vec<Resource>);

struct Resource {
    segments: Vec<Segment>,
    methods: BTreeMap<String, Route>,
}

/// The more exact a kind is, the earlier it stands: where several paths fit, the first difference decides.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Fixed(String),
    Parameter(String),
    Greedy(String),
}

impl Segment {
    fn parse(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => match name.strip_suffix('+') {
                Some(name) => Self::Greedy(name.to_owned()),
                None => Self::Parameter(name.to_owned()),
            },
            None => Self::Fixed(text.to_owned()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Fixed(_) => 0,
            Self::Parameter(_) => 1,
            Self::Greedy(_) => 2,
        }
    }
}

impl Resource {
    /// The parameters, decoded, if the path is one of this resource.
    fn parameters(&self, path: &[&str]) -> Option<BTreeMap<String, String>> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut parameters = BTreeMap::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let text = path.get(at)?;
            match segment {
                Segment::Fixed(fixed) if fixed == text => {}
                Segment::Fixed(_) => return None,
                Segment::Parameter(_) | Segment::Greedy(_) if text.is_empty() => return None,
                Segment::Parameter(name) => drop(parameters.insert(name.clone(), decoded(text))),
                Segment::Greedy(name) => {
                    parameters.insert(name.clone(), decoded(&path[at..].join("/")));
                    return Some(parameters);
                }
            }
        }
        (self.segments.len() == path.len()).then_some(parameters)
    }
}

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut resources: Vec<Resource> = Vec::new();
        for route in routes {
            let segments: Vec<Segment> = split(&route.path).into_iter().map(Segment::parse).collect();
            let at = resources.iter().position(|resource| resource.segments == segments).unwrap_or_else(|| {
                resources.push(Resource { segments, methods: BTreeMap::new() });
                resources.len() - 1
            });
            resources[at].methods.insert(route.method.clone(), route);
        }
        resources.sort_by_cached_key(|resource| resource.segments.iter().map(Segment::rank).collect::<Vec<_>>());
        Self(resources)
    }

    /// The route of a request and the parameters of its path, decoded. The path decides first: a method that the most
    /// exact path does not have is not looked for under a wider one.
    pub(crate) fn find(&self, method: &str, path: &str) -> Option<(&Route, BTreeMap<String, String>)> {
        let path = split(path);
        let fits = |resource: &'_ &Resource| resource.parameters(&path).is_some();
        let resource = self.0.iter().find(fits)?;
        let any = || ANY.contains(&method).then(|| resource.methods.get("ANY")).flatten();
        Some((resource.methods.get(method).or_else(any)?, resource.parameters(&path)?))
    }
}

/// The segments of a path; a trailing slash adds none.
fn split(path: &str) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Vec::new() } else { path.split('/').collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(list: &[(&str, &str)]) -> Routes {
        let route = |(method, path): &(&str, &str)| Route {
            method: (*method).to_owned(),
            path: (*path).to_owned(),
            function: "f".to_owned(),
            streams: false,
            timeout_ms: 29_000,
        };
        Routes::new(list.iter().map(route).collect())
    }

    #[test]
    fn the_most_exact_path_wins_whatever_the_order() {
        let routes = routes(&[
            ("GET", "/{proxy+}"),
            ("GET", "/a/{id}"),
            ("GET", "/a/{id}/b"),
            ("GET", "/a/fixed"),
            ("GET", "/a/fixed/{rest+}"),
            ("GET", "/"),
        ]);
        for (path, expected) in [
            ("/", "/"),
            ("/a/fixed", "/a/fixed"),
            ("/a/fixed/", "/a/fixed"),
            ("/a/other", "/a/{id}"),
            ("/a/other/b", "/a/{id}/b"),
            ("/a/other/c", "/{proxy+}"),
            ("/a/fixed/c/d", "/a/fixed/{rest+}"),
            ("/a", "/{proxy+}"),
            ("/a//b", "/{proxy+}"),
        ] {
            assert_eq!(routes.find("GET", path).unwrap().0.path, expected, "{path}");
        }
    }

    #[test]
    fn a_method_is_not_looked_for_under_a_wider_path() {
        let routes = routes(&[("POST", "/{proxy+}"), ("GET", "/a/{id}")]);
        assert!(routes.find("POST", "/a/1").is_none());
        assert!(routes.find("POST", "/a/1/2").is_some());
        assert!(routes.find("DELETE", "/b").is_none());
    }

    #[test]
    fn any_is_every_method_that_the_gateway_knows_and_the_path_does_not_name() {
        let routes = routes(&[("ANY", "/a"), ("GET", "/a"), ("POST", "/{proxy+}")]);
        for (method, expected) in [("GET", Some("GET")), ("HEAD", Some("ANY")), ("PATCH", Some("ANY")), ("TRACE", None)]
        {
            let found = routes.find(method, "/a").map(|(route, _)| route.method.as_str());
            assert_eq!(found, expected, "{method}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_slashes_stay_in_them() {
        let routes = routes(&[("GET", "/a/{id}"), ("GET", "/b/{rest+}")]);
        let parameter = |path: &str, name: &str| routes.find("GET", path).unwrap().1[name].clone();
        assert_eq!(parameter("/a/x%2Fy%20z", "id"), "x/y z");
        assert_eq!(parameter("/b/x/y%C3%A9", "rest"), "x/yé");
        assert!(routes.find("GET", "/b").is_none() && routes.find("GET", "/a//").is_none());
    }
}
