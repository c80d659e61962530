//! An export is ordered once and fetched whole, whatever breaks on the way.

use super::*;
use crate::stub::{Answer, Request, Stub};
use clap::Parser;
use std::sync::atomic::{AtomicUsize, Ordering};

const TENANT: Uuid = Uuid::from_u128(7);
const EXPORT: Uuid = Uuid::from_u128(9);
const FILE: &str = "order_id,total\n1,10.50\n2,3.00\n";

/// What the server answers besides the file.
fn api(request: &Request, url: &str) -> Option<Answer> {
    let digest = hex::encode(Sha256::digest(FILE.as_bytes()));
    let status = json!({
        "export_id": EXPORT, "status": "completed", "rows_done": 2, "rows_estimated": 2, "error": null,
        "manifest": {"rows": 2, "bytes": FILE.len(), "sha256": digest},
    });
    let base = format!("/api/v1/tenants/{TENANT}/reports/export");
    match request.line.as_str() {
        line if line == format!("POST {base}") => {
            Some((202, "", json!({"export_id": EXPORT, "status": "pending"}).to_string()))
        }
        line if line == format!("GET {base}/{EXPORT}") => Some((200, "", status.to_string())),
        line if line == format!("GET {base}/{EXPORT}/download") => {
            let header: &'static str = Box::leak(format!("location: {url}/file").into_boxed_str());
            Some((302, header, String::new()))
        }
        _ => None,
    }
}

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("intake-export-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn order() -> Box<RawValue> {
    RawValue::from_string(r#"{"dataset":"orders","format":"csv"}"#.to_owned()).unwrap()
}

/// Fetches the file as far as it comes.
async fn fetched(stub: &Stub, folder: &Folder, record: &mut Record) -> anyhow::Result<PathBuf> {
    let api = Api::new(&stub.url, "key")?;
    let out = folder.0.join("orders.csv");
    let (note, part, output) = (Note::hold(&folder.0, &out)?, part_of(&out), Output::new(true));
    let Ended::Written(manifest) = finish(&api, &note, record, &output).await? else { bail!("it is not written") };
    download(&api, &note, record, &manifest, &part, &output).await?;
    Ok(part)
}

#[tokio::test]
async fn what_broke_off_goes_on_where_it_stopped() {
    let asked = AtomicUsize::new(0);
    let stub = Stub::start(move |request, url| {
        api(request, url).unwrap_or_else(|| {
            assert!(!request.headers.iter().any(|header| header.starts_with("x-api-key")), "storage needs no key");
            match (
                asked.fetch_add(1, Ordering::SeqCst),
                request.headers.iter().any(|header| header == "range: bytes=10-"),
            ) {
                // the connection ends before the file does
                (0, false) => (200, "etag: \"v1\"", FILE[..10].to_owned()),
                (1, true) => (403, "", "the signature is too old".to_owned()),
                (2, true) => {
                    assert!(request.headers.contains(&"if-range: \"v1\"".to_owned()));
                    (206, "etag: \"v1\"\r\ncontent-range: bytes 10-29/30", FILE[10..].to_owned())
                }
                other => panic!("{other:?}: {request:?}"),
            }
        })
    });
    let folder = Folder::new();
    let mut record = Record::new(&stub.url, TENANT, order());
    let part = fetched(&stub, &folder, &mut record).await.unwrap();
    assert_eq!(std::fs::read_to_string(&part).unwrap(), FILE);
    assert_eq!(stub.count("POST"), 1);
    assert_eq!(stub.count(&format!("GET /api/v1/tenants/{TENANT}/reports/export/{EXPORT}/download")), 2);
    assert_eq!(sha256(&part).await.unwrap(), hex::encode(Sha256::digest(FILE)));
}

#[tokio::test]
async fn a_file_that_was_written_anew_is_fetched_whole() {
    let stub = Stub::start(|request, url| api(request, url).unwrap_or_else(|| (200, "etag: \"v2\"", FILE.to_owned())));
    let folder = Folder::new();
    std::fs::write(folder.0.join("orders.csv.part"), "of another version").unwrap();
    let mut record = Record::new(&stub.url, TENANT, order());
    (record.export_id, record.etag) = (Some(EXPORT), Some("\"v1\"".to_owned()));
    let part = fetched(&stub, &folder, &mut record).await.unwrap();
    assert_eq!(std::fs::read_to_string(part).unwrap(), FILE);
    assert_eq!((stub.count("POST"), record.etag.as_deref()), (0, Some("\"v2\"")));
}

#[test]
fn a_place_is_written_by_one_and_noted() {
    let folder = Folder::new();
    let out = folder.0.join("orders.csv");
    let note = Note::hold(&folder.0, &out).unwrap();
    assert!(Note::hold(&folder.0, &out).unwrap_err().to_string().contains("another"));
    assert!(Note::hold(&folder.0, &folder.0.join("items.csv")).is_ok());
    let record = Record::new("http://localhost", TENANT, order());
    note.write(&record).unwrap();
    drop(note);
    let note = Note::hold(&folder.0, &out).unwrap();
    let noted = note.read().unwrap().unwrap();
    assert_eq!(noted.idempotency_key, record.idempotency_key);
    assert!(noted.is_of("http://localhost", TENANT, &order()));
    let other = to_raw_value(&json!({"dataset": "orders", "format": "json"})).unwrap();
    assert!(!noted.is_of("http://localhost", TENANT, &other));
    note.clear().unwrap();
    drop(note);
    assert!(Note::hold(&folder.0, &out).unwrap().read().unwrap().is_none());
}

#[tokio::test]
async fn a_payload_is_sent_as_it_was_given() {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let read = |payload| Line::try_parse_from(["export", "--out", "o.csv", "--q", "\"Ann\"", "--payload", payload]);
    assert!(read("[1]").is_err() && read("{\"a\":").is_err());
    let line = read(r#"{"reference": 12345678901234567.890}"#).unwrap();
    let order = line.args.order().unwrap();
    let sent = r#"{"dataset":"orders","filters":{"payload":{"reference": 12345678901234567.890},"q":"\"Ann\""},"format":"csv"}"#;
    assert_eq!(order.get(), sent);

    let stub = Stub::start(|request, url| api(request, url).unwrap_or_else(|| (200, "etag: \"v1\"", FILE.to_owned())));
    let folder = Folder::new();
    let note = Note::hold(&folder.0, &folder.0.join("orders.csv")).unwrap();
    note.write(&Record::new(&stub.url, TENANT, order)).unwrap();
    let mut record = note.read().unwrap().unwrap();
    drop(note);
    fetched(&stub, &folder, &mut record).await.unwrap();
    assert_eq!(stub.requests()[0].body, sent);
}
