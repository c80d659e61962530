//! The OpenAPI document that is served, against the code, and the template's routes against the document. No stack is
//! needed. `INTAKE_WRITE_DOCS=1 cargo test -p intake-tests --test document` writes the document anew.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use yaml_serde::Value as Yaml;

/// The part of each API function, by the name of its crate. To add one: its line.
fn parts() -> BTreeMap<&'static str, Json> {
    BTreeMap::from([
        ("ingest-api", ingest_api::all().document()),
        ("price-api", price_api::all().document()),
        ("report-api", report_api::all().document()),
        ("site", site::all().document()),
        ("stock-api", stock_api::all().document()),
    ])
}

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace(path)).unwrap_or_default()
}

fn paths(part: &Json) -> BTreeSet<String> {
    part["paths"].as_object().into_iter().flat_map(|paths| paths.keys().cloned()).collect()
}

#[test]
fn the_document_that_is_served_is_that_of_the_code() {
    let document = site::document(parts().into_values());
    let text = serde_json::to_string_pretty(&document).expect("a document is always written") + "\n";
    if std::env::var_os("INTAKE_WRITE_DOCS").is_some() {
        std::fs::write(workspace("functions/site/openapi.json"), &text).expect("a writable folder");
    }
    let is_current = read("functions/site/openapi.json") == text;
    assert!(is_current, "functions/site/openapi.json is not up to date: run this test with INTAKE_WRITE_DOCS=1");
}

/// What an operation refers to must be there, and a reader must find more than its name.
#[test]
fn the_document_holds_together() {
    let document = site::document(parts().into_values());
    let mut references = Vec::new();
    let mut rest = vec![&document];
    while let Some(value) = rest.pop() {
        references.extend(value["$ref"].as_str().map(str::to_owned));
        rest.extend(value.as_array().into_iter().flatten());
        rest.extend(value.as_object().into_iter().flat_map(|object| object.values()));
    }
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap_or(&reference);
        assert!(document.pointer(pointer).is_some(), "{reference} is not there");
    }
    let (mut ids, mut used) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let at = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().expect("an id")), "{at}: its id is another's");
            assert!(operation["summary"].is_string(), "{at} has no summary");
            let responses = operation["responses"].as_object().expect("responses");
            assert!(responses.keys().any(|status| status.starts_with(['2', '3'])), "{at} never succeeds");
            for (status, response) in responses {
                assert!(response["headers"]["X-Request-Id"].is_object(), "{at}: {status} has no X-Request-Id");
            }
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            let has_path = parameters.any(|parameter| parameter["in"] == "path");
            assert_eq!(path.contains('{'), has_path, "{at}: its path's parameters");
            used.extend(operation["tags"].as_array().into_iter().flatten().filter_map(Json::as_str));
        }
    }
    let tags: BTreeSet<_> =
        document["tags"].as_array().into_iter().flatten().filter_map(|tag| tag["name"].as_str()).collect();
    assert_eq!(used, tags, "tags that are used, and tags that are described");
}

/// A function that is reached by a path which it does not describe, or describes one by which nobody reaches it.
#[test]
fn the_templates_routes_are_those_of_the_document() {
    let template: Yaml = yaml_serde::from_str(&read("template.yaml")).expect("YAML");
    let mut routes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let resources = template["Resources"].as_mapping().expect("resources");
    for (name, resource) in resources {
        let events = resource["Properties"]["Events"].as_mapping();
        for (event, properties) in events.into_iter().flatten().filter(|(_, event)| event["Type"] == "Api") {
            let (event, properties) = (format!("{name:?} {event:?}"), &properties["Properties"]);
            assert_eq!(properties["Method"], "ANY", "{event}: the function itself answers 405");
            assert_eq!(properties["ResponseTransferMode"], "RESPONSE_STREAM", "{event}: its function streams");
            let function = resource["Metadata"]["Binary"].as_str().expect("a binary");
            let path = properties["Path"].as_str().expect("a path");
            // a catch-all is for what nobody describes
            let known = routes.entry(function.to_owned()).or_default();
            assert!(path.ends_with("{proxy+}") || known.insert(path.to_owned()), "{event}: {path} is there twice");
        }
    }
    let described: BTreeMap<_, _> = parts().iter().map(|(name, part)| ((*name).to_owned(), paths(part))).collect();
    assert_eq!(routes, described, "template.yaml, and what the functions say of themselves");
}
