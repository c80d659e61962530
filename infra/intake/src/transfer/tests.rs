use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::stub::{Request, Stub};

const BYTES: &str = "0123456789";

/// A file that goes with its owner.
struct Scratch(LocalFile);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("intake-transfer-{}", Uuid::new_v4()));
        fs::write(&path, BYTES).unwrap();
        Self(LocalFile::look("a.ndjson".to_owned(), path).unwrap().unwrap())
    }

    fn path(&self) -> &PathBuf {
        &self.0.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0.path);
    }
}

fn part(url: &str, part_number: u64) -> Part {
    Part { part_number, size_bytes: if part_number == 3 { 2 } else { 4 }, url: format!("{url}/{part_number}") }
}

/// Three parts, at addresses below `url`.
fn multipart(url: &str) -> Uploads {
    let parts = (1..=3).map(|number| part(url, number)).collect();
    let upload = Upload::Multipart { part_size_bytes: 4, parts, complete_path: "/complete".to_owned() };
    Uploads::from([("a.ndjson".to_owned(), upload)])
}

/// What the server answers when these parts are missing, with addresses below `url`/new.
fn resumed(url: &str, missing: &[u64]) -> String {
    let parts = missing.iter().map(|number| part(&format!("{url}/new"), *number));
    let parts: Vec<_> = parts
        .map(|part| json!({"part_number": part.part_number, "size_bytes": part.size_bytes, "url": part.url}))
        .collect();
    let upload = json!({
        "kind": "multipart", "part_size_bytes": 4, "arrived_parts": [], "expires_at": "later", "parts": parts,
        "complete_path": "/complete",
    });
    let file = json!({"file_id": Uuid::nil(), "name": "a.ndjson", "state": "awaiting_upload", "upload": upload});
    json!({"upload_token": "token", "chunks_queued": 0, "files": [file]}).to_string()
}

async fn send(stub: &Stub, uploads: Uploads, file: &LocalFile) -> (anyhow::Result<()>, u64) {
    let api = Api::new(&stub.url, "key").unwrap();
    // One at a time, so that it is known which part meets an old address first.
    let slots = Semaphore::new(1);
    let sent = AtomicU64::new(0);
    let count = |bytes| {
        sent.fetch_add(bytes, Ordering::Relaxed);
    };
    let result = Transfer::new(&api, "token", &slots, uploads).send(file, &count).await;
    (result, sent.into_inner())
}

#[tokio::test]
async fn too_old_addresses_are_renewed_and_only_what_is_missing_is_sent() {
    let stub = Stub::start(|request: &Request, url| match request.line.as_str() {
        "PUT /old/1" | "PUT /new/2" | "PUT /new/3" | "POST /complete" => (200, "", String::new()),
        "POST /api/v1/ingest/sessions/token/resume" => (200, "", resumed(url, &[2, 3])),
        _ => (403, "", "<Code>AccessDenied</Code><Message>Request has expired</Message>".to_owned()),
    });
    let file = Scratch::new();
    let (result, sent) = send(&stub, multipart(&format!("{}/old", stub.url)), &file.0).await;
    result.unwrap();
    assert_eq!(sent, 10);
    let requests = stub.requests();
    let lines: Vec<_> = requests.iter().map(|request| request.line.as_str()).collect();
    let resume = "POST /api/v1/ingest/sessions/token/resume";
    assert_eq!(lines, ["PUT /old/1", "PUT /old/2", resume, "PUT /new/2", "PUT /new/3", "POST /complete"]);
    assert_eq!([&requests[0].body, &requests[3].body, &requests[4].body], ["0123", "4567", "89"]);
}

#[tokio::test]
async fn an_upload_that_the_server_begins_anew_is_sent_whole() {
    let stub = Stub::start(|request: &Request, url| match request.line.as_str() {
        "PUT /old/1" | "PUT /new/1" | "PUT /new/2" | "PUT /new/3" | "POST /complete" => (200, "", String::new()),
        "POST /api/v1/ingest/sessions/token/resume" => (200, "", resumed(url, &[1, 2, 3])),
        _ => (404, "", "<Code>NoSuchUpload</Code>".to_owned()),
    });
    let file = Scratch::new();
    let (result, sent) = send(&stub, multipart(&format!("{}/old", stub.url)), &file.0).await;
    result.unwrap();
    assert_eq!((sent, stub.count("PUT /new/"), stub.count("POST /complete")), (10, 3, 1));
}

#[tokio::test]
async fn parts_that_are_missing_at_the_end_are_sent_and_not_without_end() {
    let complete = AtomicU64::new(0);
    let stub = Stub::start(move |request: &Request, url| match request.line.as_str() {
        "POST /complete" if complete.fetch_add(1, Ordering::Relaxed) == 0 => (409, "", "PARTS_MISSING".to_owned()),
        "POST /api/v1/ingest/sessions/token/resume" => (200, "", resumed(url, &[2])),
        _ => (200, "", String::new()),
    });
    let file = Scratch::new();
    send(&stub, multipart(&format!("{}/old", stub.url)), &file.0).await.0.unwrap();
    assert_eq!((stub.count("PUT /new/"), stub.count("POST /complete")), (1, 2));

    let stub = Stub::start(|request: &Request, url| match request.line.as_str() {
        "POST /complete" => (409, "", "PARTS_MISSING".to_owned()),
        "POST /api/v1/ingest/sessions/token/resume" => (200, "", resumed(url, &[2])),
        _ => (200, "", String::new()),
    });
    let error = send(&stub, multipart(&format!("{}/old", stub.url)), &file.0).await.0.unwrap_err();
    assert!(format!("{error:#}").contains("PARTS_MISSING"), "{error:#}");
    assert_eq!(stub.count("POST /complete"), 3);
}

#[tokio::test]
async fn what_has_arrived_meanwhile_is_not_sent() {
    let stub = Stub::start(|request: &Request, _| match request.line.as_str() {
        "POST /api/v1/ingest/sessions/token/resume" => {
            (200, "", json!({"files": [{"name": "a.ndjson", "state": "loading"}]}).to_string())
        }
        _ => (404, "", "<Code>NoSuchUpload</Code>".to_owned()),
    });
    let file = Scratch::new();
    let (result, sent) = send(&stub, multipart(&format!("{}/old", stub.url)), &file.0).await;
    result.unwrap();
    assert_eq!((sent, stub.count("PUT"), stub.count("POST /complete")), (0, 1, 0));
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_not_made_twice() {
    let put = |url: &str| Upload::Put { url: format!("{url}/put"), headers: [("if-none-match", "*")].map(own).into() };
    let stub = Stub::start(|request: &Request, _| match request.line.as_str() {
        "POST /api/v1/ingest/sessions/token/resume" => {
            (200, "", json!({"files": [{"name": "a.ndjson", "state": "awaiting_upload"}]}).to_string())
        }
        _ => (412, "", "<Code>PreconditionFailed</Code>".to_owned()),
    });
    let file = Scratch::new();
    let (result, _) = send(&stub, Uploads::from([("a.ndjson".to_owned(), put(&stub.url))]), &file.0).await;
    result.unwrap();
    assert_eq!((stub.count("PUT"), stub.count("POST /api/v1/ingest/sessions/token/resume")), (1, 1));
    assert!(stub.requests()[0].headers.contains(&"if-none-match: *".to_owned()), "{:?}", stub.requests());
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn an_address_that_is_refused_however_new_is_an_error() {
    let stub = Stub::start(|request: &Request, url| match request.line.as_str() {
        "POST /api/v1/ingest/sessions/token/resume" => {
            let upload = json!({"kind": "put", "url": format!("{url}/put"), "headers": {}});
            (200, "", json!({"files": [{"name": "a.ndjson", "upload": upload}]}).to_string())
        }
        _ => (403, "", "<Code>AccessDenied</Code>".to_owned()),
    });
    let file = Scratch::new();
    let upload = Upload::Put { url: format!("{}/put", stub.url), headers: BTreeMap::new() };
    let (result, _) = send(&stub, Uploads::from([("a.ndjson".to_owned(), upload)]), &file.0).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("cannot upload") && error.contains("403"), "{error}");
    assert_eq!(stub.count("PUT"), 3);
}

#[tokio::test]
async fn a_file_that_has_changed_is_not_sent() {
    let stub = Stub::start(|_: &Request, _| (200, "", String::new()));
    let file = Scratch::new();
    fs::write(file.path(), "other bytes").unwrap();
    let (result, _) = send(&stub, multipart(&stub.url), &file.0).await;
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains("has changed since it was declared"), "{error}");
    assert_eq!(stub.requests(), []);
}

#[tokio::test]
async fn a_file_without_missing_parts_is_only_completed() {
    let stub = Stub::start(|_: &Request, _| (200, "", String::new()));
    let file = Scratch::new();
    let upload = Upload::Multipart { part_size_bytes: 4, parts: Vec::new(), complete_path: "/complete".to_owned() };
    let (result, sent) = send(&stub, Uploads::from([("a.ndjson".to_owned(), upload)]), &file.0).await;
    result.unwrap();
    assert_eq!((sent, stub.count("PUT"), stub.count("POST /complete")), (0, 0, 1));
}
