use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::*;
use crate::data_files;
use crate::stub::{Answer, Request, Stub};

const TENANT: Uuid = Uuid::from_u128(0x11111111_2222_4333_8444_555555555555);
const CREATE: &str = "POST /api/v1/ingest/sessions";

/// A folder with two data files, and a state folder in it, that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("intake-ingest-{}", Uuid::new_v4()));
        fs::create_dir(&dir).unwrap();
        for dataset in ["customers", "orders"] {
            fs::write(dir.join(format!("{dataset}_{TENANT}.ndjson")), format!("{{\"{dataset}\": 1}}\n")).unwrap();
        }
        Self(dir)
    }

    fn orders(&self) -> PathBuf {
        self.0.join(format!("orders_{TENANT}.ndjson"))
    }

    /// Notes of uploads that there are.
    fn notes(&self) -> Vec<Record> {
        Uploads::new(&self.0).all().unwrap()
    }

    async fn send(&self, shop: &Shop, wait: bool, fresh: bool) -> Outcome {
        let ledger =
            Ledger { uploads: Uploads::new(&self.0), derived_keys: BTreeMap::new(), state_dir: self.0.clone() };
        let shipment = Shipment {
            tenants: vec![Consignment {
                tenant: TENANT,
                api: Api::new(&shop.stub.url, "key").unwrap(),
                files: data_files::find(&self.0).unwrap().files,
            }],
            policy: Policy::default(),
            sha256: true,
            wait,
            notes: if fresh { Notes::Fresh(ledger) } else { Notes::Continue(ledger) },
        };
        let mut sessions = send(shipment, &Output::new(true)).await.sessions;
        assert_eq!(sessions.len(), 1);
        sessions.remove(0)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that numbers its sessions.
struct Shop {
    stub: Stub,
    /// Whether it refuses orders, as if the line were cut.
    broken: Arc<AtomicBool>,
    /// Whether sessions have expired.
    expired: Arc<AtomicBool>,
}

impl Shop {
    fn start() -> Self {
        let (broken, expired) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
        let (cut, old, sessions) = (Arc::clone(&broken), Arc::clone(&expired), AtomicU64::new(0));
        let stub = Stub::start(move |request, url| {
            let cut = cut.load(Ordering::Relaxed);
            answer(request, url, cut, old.load(Ordering::Relaxed), &sessions)
        });
        Self { stub, broken, expired }
    }

    /// The names of the files that were put, in any order.
    fn puts(&self) -> Vec<String> {
        let requests = self.stub.requests().into_iter();
        let mut puts: Vec<_> =
            requests.filter_map(|request| Some(request.line.strip_prefix("PUT /")?.to_owned())).collect();
        puts.sort();
        puts
    }
}

fn answer(request: &Request, url: &str, cut: bool, expired: bool, sessions: &AtomicU64) -> Answer {
    let put = |dataset: &str| json!({"kind": "put", "url": format!("{url}/{dataset}"), "headers": {}});
    let file = |dataset: &str, upload: Value| json!({"name": format!("{dataset}_{TENANT}.ndjson"), "upload": upload});
    let (status, body) = match request.line.as_str() {
        CREATE => {
            let token = format!("session-{}", sessions.fetch_add(1, Ordering::Relaxed) + 1);
            let files = [file("customers", put("customers")), file("orders", put("orders"))];
            (201, json!({"upload_token": token, "files": files}))
        }
        "PUT /orders" if cut => {
            // The line is cut after the customers have got through.
            thread::sleep(Duration::from_millis(200));
            (400, json!({}))
        }
        line if line.ends_with("/resume") && expired => (410, json!({"code": "SESSION_EXPIRED"})),
        line if line.ends_with("/resume") => {
            let files = [file("customers", Value::Null), file("orders", put("orders"))];
            (200, json!({"upload_token": "session-1", "chunks_queued": 0, "files": files}))
        }
        line if line.ends_with("/status") => (200, json!({"state": "completed", "rows": {"inserted": 2}})),
        _ => (200, json!({})),
    };
    (status, "", body.to_string())
}

#[tokio::test]
async fn the_same_command_goes_on_where_it_was_interrupted() {
    let (scratch, shop) = (Scratch::new(), Shop::start());
    let cut = scratch.send(&shop, true, false).await;
    assert_eq!((cut.upload_token.as_deref(), cut.verdict), (Some("session-1"), Verdict::Failed));
    assert_eq!(scratch.notes().len(), 1);

    shop.broken.store(false, Ordering::Relaxed);
    let before = shop.puts().len();
    let outcome = scratch.send(&shop, true, false).await;
    assert_eq!((outcome.continued, outcome.state.as_str(), outcome.rows.inserted), (true, "completed", 2));
    assert_eq!(shop.stub.count("POST /api/v1/ingest/sessions/session-1/resume"), 1);
    assert_eq!(shop.puts().len(), before + 1, "only the orders were missing");
    assert_eq!(scratch.notes(), [], "the session has ended");
    let requests = shop.stub.requests();
    let created: Vec<_> = requests.iter().filter(|request| request.line == CREATE).collect();
    assert_eq!(created.len(), 1);
    let body: Value = serde_json::from_str(&created[0].body).unwrap();
    assert_eq!(body["dry_run"], json!(false));
    assert_eq!(body["files"][0]["dataset"], json!("customers"));
    assert_eq!(body["files"][0]["sha256"].as_str().map(str::len), Some(64));
}

#[tokio::test]
async fn a_file_that_changed_in_between_is_refused_unless_it_is_to_be_sent_anew() {
    let (scratch, shop) = (Scratch::new(), Shop::start());
    scratch.send(&shop, true, false).await;
    shop.broken.store(false, Ordering::Relaxed);
    fs::write(scratch.orders(), "{\"orders\": 2000}\n").unwrap();
    let puts = shop.puts();
    let refused = scratch.send(&shop, true, false).await;
    let error = refused.error.unwrap();
    assert!(error.contains("has changed since it was declared: it had 14 bytes and has 17"), "{error}");
    assert!(error.contains("`cargo intake cancel session-1` ends it"), "{error}");
    assert_eq!(shop.puts(), puts, "nothing was sent");

    let outcome = scratch.send(&shop, true, true).await;
    assert_eq!((outcome.upload_token.as_deref(), outcome.continued), (Some("session-2"), false));
    assert_eq!(outcome.verdict, Verdict::Good);
    assert_eq!(scratch.notes(), []);
}

#[tokio::test]
async fn what_the_server_does_not_let_go_on_is_sent_anew() {
    let (scratch, shop) = (Scratch::new(), Shop::start());
    scratch.send(&shop, true, false).await;
    shop.broken.store(false, Ordering::Relaxed);
    shop.expired.store(true, Ordering::Relaxed);
    let outcome = scratch.send(&shop, true, false).await;
    assert_eq!((outcome.upload_token.as_deref(), outcome.verdict), (Some("session-2"), Verdict::Good));
    assert_eq!(scratch.notes(), []);
}

#[tokio::test]
async fn an_upload_that_was_not_interrupted_does_not_go_on_once_it_has_ended() {
    let (scratch, shop) = (Scratch::new(), Shop::start());
    shop.broken.store(false, Ordering::Relaxed);
    let first = scratch.send(&shop, false, false).await;
    assert_eq!((first.state.as_str(), scratch.notes()[0].left), ("uploaded", true));
    let second = scratch.send(&shop, true, false).await;
    assert_eq!((second.upload_token.as_deref(), second.continued), (Some("session-2"), false));
    assert_eq!(scratch.notes(), []);
}

#[test]
fn what_is_missing_is_summed_up() {
    let line = going_on("t", 4, 1, 2048, 0);
    assert_eq!(line, "session t goes on: 3 of 4 files have arrived, 2.00 KiB to send");
    let line = going_on("t", 4, 0, 0, 3);
    assert_eq!(line, "session t goes on: everything has arrived, 3 failed chunks are tried again");
}
