//! The OpenAPI document. A handler says what it takes and what it answers when all is well; what follows from the needs
//! of its route, its parameters and its body is written here.

use super::{Needs, Requirement};
use crate::Problem;
use crate::problem::{CONTENT_TYPE, Code, Document, FieldCode, FieldError};
use serde_json::{Map, Value, json};
use utoipa::openapi::Paths;
use utoipa::{PartialSchema, ToSchema};

/// The first of the OpenAPI versions that describe schemas as JSON Schema does.
const VERSION: &str = "3.1.0";

/// The document of an API: its `title`, the functions' `parts` of it ([`Routes::document`](super::Routes::document)),
/// and what they all refer to. `tags` are names and descriptions, in the order in which readers meet them.
#[must_use]
pub fn document(
    title: &str,
    description: &str,
    tags: &[(&str, &str)],
    parts: impl IntoIterator<Item = Value>,
) -> Value {
    let mut document = json!({
        "openapi": VERSION,
        "info": {"title": title, "version": env!("CARGO_PKG_VERSION"), "description": description},
        "servers": [{"url": "/", "description": "The API that serves this document"}],
        "tags": tags.iter().map(|(name, text)| json!({"name": name, "description": text})).collect::<Value>(),
        "paths": {},
        "components": {
            "schemas": problem_schemas(),
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A tenant's API key."},
                "Bearer": {"type": "http", "scheme": "bearer", "description": "The same key as a bearer token."},
            },
            "headers": headers(),
            "examples": Code::ALL.iter().map(|code| (code.as_str().to_owned(), example(*code))).collect::<Map<_, _>>(),
        },
    });
    for mut part in parts {
        for pointer in ["/paths", "/components/schemas"] {
            if let (Some(Value::Object(all)), Some(Value::Object(more))) =
                (document.pointer_mut(pointer), part.pointer_mut(pointer))
            {
                all.append(more);
            }
        }
    }
    document
}

/// The schema of a problem, and of what is in it.
fn problem_schemas() -> Map<String, Value> {
    let mut schemas = vec![(Document::name().into_owned(), Document::schema())];
    Document::schemas(&mut schemas);
    schemas.into_iter().map(|(name, schema)| (name, json!(schema))).collect()
}

/// Headers of answers, which operations refer to.
fn headers() -> Value {
    json!({
        "XRequestId": {
            "description": "By which the request is found in our logs.",
            "required": true,
            "schema": {"type": "string", "minLength": 1},
            "example": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
        },
        "RateLimit": {
            "description": "How the limit that is nearest to its end stands: requests left (`r`), seconds until one \
                            more is allowed again (`t`).",
            "schema": {"type": "string", "pattern": r#"^"[a-z-]+";r=\d+;t=\d+$"#},
            "example": r#""requests";r=998;t=60"#,
        },
        "RateLimitPolicy": {
            "description": "The limits of the route: requests (`q`) in any so many seconds (`w`).",
            "schema": {"type": "string", "pattern": r#"^"[a-z-]+";q=\d+;w=\d+(, "[a-z-]+";q=\d+;w=\d+)*$"#},
            "example": r#""requests";q=1000;w=60"#,
        },
        "RetryAfter": {
            "description": "When to ask again, in seconds.",
            "schema": {"type": "integer", "minimum": 1},
            "example": 1,
        },
        "IdempotentReplayed": {
            "description": "The answer is that of an earlier request with this Idempotency-Key, byte for byte.",
            "schema": {"type": "string", "const": "true"},
        },
        "WwwAuthenticate": {
            "description": "How to authenticate.",
            "required": true,
            "schema": {"type": "string"},
            "example": "ApiKey, Bearer",
        },
    })
}

/// A problem of that code.
fn example(code: Code) -> Value {
    let detail = code.meaning().trim_end_matches('.');
    let problem = match code {
        Code::InvalidRequest => {
            let detail = "is no field that the route knows";
            Problem::of_fields(code, vec![FieldError::new("/files/0/nmae", FieldCode::UnknownField, detail)])
        }
        Code::InvalidQuery => {
            Problem::of_fields(code, vec![FieldError::new("/limit", FieldCode::InvalidLimit, "must be at least 1")])
        }
        _ => Problem::new(code, detail),
    };
    let problem = if passes(code) { problem.retry_after(1) } else { problem };
    let document = problem.document(Some("01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01"), Some("/api/v1/ingest/sessions"));
    json!({"summary": code.meaning(), "value": document})
}

/// Whether a problem of that code goes by itself, and says when to try again.
fn passes(code: Code) -> bool {
    matches!(code, Code::RateLimited | Code::TooManyFollowers | Code::Unavailable | Code::IdempotencyKeyInUse)
}

/// The paths of a route, as its handlers describe them and completed.
pub(super) fn paths(paths: &Paths, needs: Needs) -> Map<String, Value> {
    let mut paths = match json!(paths) {
        Value::Object(paths) => paths,
        _ => Map::new(),
    };
    for item in paths.values_mut().filter_map(Value::as_object_mut) {
        item.iter_mut().for_each(|(method, operation)| complete(operation, method, needs));
    }
    paths
}

/// Completes an operation, as its handler describes it, with what its route's needs come to.
fn complete(operation: &mut Value, method: &str, needs: Needs) {
    let refusals = refusals(operation, method, needs);
    if needs.key {
        operation["security"] = json!([{"ApiKey": []}, {"Bearer": []}]);
    }
    if let Some(requirement) = needs.idempotency {
        let parameter = json!({
            "name": "Idempotency-Key",
            "in": "header",
            "required": requirement == Requirement::Required,
            "description": "Any text of your own, such as a UUID, a new one for each request. Sent again with the same \
                            key within 24 hours, a request has no second effect and gets the first answer.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        });
        match &mut operation["parameters"] {
            Value::Array(parameters) => parameters.push(parameter),
            none => *none = json!([parameter]),
        }
    }
    let Some(Value::Object(responses)) = operation.get_mut("responses") else { return };
    for response in responses.values_mut() {
        refer(response, "X-Request-Id", "XRequestId");
        if needs.budget.is_some() {
            refer(response, "RateLimit", "RateLimit");
            refer(response, "RateLimit-Policy", "RateLimitPolicy");
        }
        if needs.idempotency.is_some() {
            refer(response, "Idempotent-Replayed", "IdempotentReplayed");
        }
    }
    for codes in refusals.chunk_by(|one, other| one.status() == other.status()) {
        responses.insert(codes[0].status().as_u16().to_string(), refusal(codes, needs));
    }
}

/// Every code that an operation can be refused with, by status.
fn refusals(operation: &Value, method: &str, needs: Needs) -> Vec<Code> {
    let has = |place: &str| {
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        parameters.any(|parameter| parameter["in"] == place)
    };
    let implied: &[(bool, &[Code])] = &[
        (true, &[Code::Internal, Code::Unavailable]),
        (needs.key, &[Code::Unauthorized]),
        (needs.budget.is_some(), &[Code::RateLimited]),
        (needs.idempotency == Some(Requirement::Required), &[Code::IdempotencyKeyRequired]),
        (
            needs.idempotency.is_some(),
            &[Code::InvalidIdempotencyKey, Code::IdempotencyKeyInUse, Code::IdempotencyKeyReused],
        ),
        (has("path"), &[Code::NotFound]),
        (has("query"), &[Code::InvalidQuery]),
        // a body that nobody asked for is read, too
        (!matches!(method, "get" | "head"), &[Code::PayloadTooLarge]),
        (
            operation.get("requestBody").is_some(),
            &[Code::InvalidBody, Code::UnsupportedMediaType, Code::InvalidRequest],
        ),
    ];
    let implied = implied.iter().filter(|(is_so, _)| *is_so).flat_map(|(_, codes)| *codes);
    let named: Vec<Code> = implied.chain(needs.refusals).copied().collect();
    let mut codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| named.contains(code)).collect();
    codes.sort_by_key(|code| code.status().as_u16());
    codes
}

/// The answer with one of these codes, which have one status.
fn refusal(codes: &[Code], needs: Needs) -> Value {
    let status = codes[0].status();
    let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
    let meanings: Vec<_> = codes.iter().map(|code| format!("- `{}`: {}", code.as_str(), code.meaning())).collect();
    let examples =
        names.iter().map(|name| ((*name).to_owned(), json!({"$ref": format!("#/components/examples/{name}")})));
    let mut refusal = json!({
        "description": meanings.join("\n"),
        "content": {CONTENT_TYPE: {
            "schema": {"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"status": {"const": status.as_u16()}, "code": {"enum": names}}},
            ]},
            "examples": examples.collect::<Map<_, _>>(),
        }},
    });
    refer(&mut refusal, "X-Request-Id", "XRequestId");
    if codes.iter().copied().any(passes) {
        refer(&mut refusal, "Retry-After", "RetryAfter");
    }
    if codes.contains(&Code::Unauthorized) {
        refer(&mut refusal, "WWW-Authenticate", "WwwAuthenticate");
    } else if needs.budget.is_some() {
        refer(&mut refusal, "RateLimit", "RateLimit");
        refer(&mut refusal, "RateLimit-Policy", "RateLimitPolicy");
    }
    refusal
}

/// Gives an answer one of the headers that stand among the components.
fn refer(response: &mut Value, name: &str, component: &str) {
    response["headers"][name] = json!({"$ref": format!("#/components/headers/{component}")});
}
