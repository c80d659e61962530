//! The front, the gateway and the Runtime API with processes of a function that these tests are themselves: `plays_a_function`
//! speaks the Runtime API as bytes, as a foreign runtime would.

use super::*;
use crate::front::{self, Front};
use crate::processes;
use axum::body::to_bytes;
use axum::http::request::Builder;
use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// Where a function that waits looks for leave to go on.
const GATE: &str = "GATE";

/// No promise: the function of the others. It ends when nobody gives it requests any more.
#[test]
fn plays_a_function() {
    let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") else { return };
    let (address, base) = api.strip_prefix("http://").and_then(|api| api.split_once('/')).unwrap();
    loop {
        let request =
            format!("GET /{base}/2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        let (head, event) = text.split_once("\r\n\r\n").unwrap();
        let name = "lambda-runtime-aws-request-id: ";
        let id = head.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let post = format!(
            "POST /{base}/2018-06-01/runtime/invocation/{id}/response HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        );
        let mut connection = TcpStream::connect(address).unwrap();
        if play(&serde_json::from_str(event).unwrap(), &post, &mut connection).is_ok() {
            drop(connection.read_to_string(&mut String::new()));
        }
    }
}

fn play(event: &Value, post: &str, connection: &mut TcpStream) -> std::io::Result<()> {
    let pid = std::process::id();
    let mut answer = |answer: Value| {
        let answer = answer.to_string();
        connection.write_all(format!("{post}Content-Length: {}\r\n\r\n{answer}", answer.len()).as_bytes())
    };
    match event["path"].as_str().unwrap() {
        "/echo" => answer(json!({"statusCode": 201, "headers": {"x-pid": pid.to_string()}, "body": event["body"],
            "isBase64Encoded": event["isBase64Encoded"]})),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(100));
            answer(json!({"statusCode": 200, "headers": {"x-pid": pid.to_string()}}))
        }
        "/large" => answer(json!({"statusCode": 200, "body": "x".repeat(MAX_PAYLOAD_BYTES)})),
        "/die" => std::process::exit(1),
        "/hang" => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        path => {
            let mode =
                "Transfer-Encoding: chunked\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTrailer: x\r\n";
            write!(connection, "{post}{mode}\r\n")?;
            let mut chunk = |text: &str| write!(connection, "{:x}\r\n{text}\r\n", text.len());
            chunk("{\"statusCode\":200,\"headers\":{\"x-pid\":")?;
            chunk(&format!("\"{pid}\"}}}}\0\0\0"))?;
            chunk("\0\0\0\0\0first")?;
            match path {
                "/stream" => {
                    let gate = PathBuf::from(std::env::var(GATE).unwrap());
                    while !gate.exists() {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    chunk("second")?;
                    write!(connection, "0\r\n\r\n")
                }
                "/endless" => loop {
                    chunk(&"more".repeat(10_000))?;
                },
                _ => {
                    // what fails at once takes the head with it
                    std::thread::sleep(Duration::from_millis(50));
                    write!(connection, "0\r\nLambda-Runtime-Function-Error-Type: Runtime.Error\r\n\r\n")
                }
            }
        }
    }
}

/// A front over that function, in a folder of its own.
struct Stage {
    front: Option<Front>,
    url: String,
    folder: PathBuf,
}

impl Stage {
    async fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("intake-local-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let mut stage = Self { front: None, url: String::new(), folder };
        stage.build();
        let route = |method: &str, path: &str, streams: bool| json!({"method": method, "path": path, "function": "f", "streams": streams, "timeout_ms": 5000});
        let whole = ["/echo", "/slow", "/large", "/die", "/hang"].map(|path| route("POST", path, false));
        let pieces = ["/stream", "/endless", "/breaks", "/{else+}"].map(|path| route("GET", path, true));
        let others = [route("HEAD", "/stream", true), route("GET", "/echo", true)];
        let routes = [whole.as_slice(), &pieces, &others].concat();
        let api = json!({
            "id": "api", "stage": "live", "binary_media_types": ["application/octet-stream"],
            "gateway_responses": {"DEFAULT_5XX": {"StatusCode": 503, "ResponseParameters": {"Headers": {"x-own": "'*'"}},
                "ResponseTemplates": {"application/json": "{\"request_id\":\"$context.requestId\"}"}}},
            "routes": routes,
            "functions": [{"name": "f", "host": stage.folder.join("f"), "crate": "f", "arn": "arn", "memory_mb": 1, "timeout_s": 1,
                "log_group": "g", "environment": {GATE: stage.folder.join("gate")}}],
        });
        let quiet: crate::environments::Prepare = Box::new(|command| {
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            Ok(())
        });
        let runtime_api = RuntimeApi::serve(quiet).await.unwrap();
        let log = File::create(stage.folder.join("log")).unwrap();
        let gateway = Gateway::new(serde_json::from_value(api).unwrap(), runtime_api, log);
        let front = Front::serve(front::bind(0).await.unwrap(), gateway).unwrap();
        stage.url = front.url();
        stage.front = Some(front);
        stage
    }

    /// Makes the binary, anew. Another process writes it: a file that any child of ours has open cannot be run.
    fn build(&self) {
        let (new, binary) = (self.folder.join("new"), self.folder.join("f"));
        let exe = std::env::current_exe().unwrap();
        let name = concat!(module_path!(), "::plays_a_function").split_once("::").unwrap().1;
        let script = format!("#!/bin/sh\nexec '{}' --exact {name}\n", exe.display());
        let write = "printf %s \"$1\" >\"$2\" && chmod 700 \"$2\" && mv \"$2\" \"$3\"";
        let mut shell = std::process::Command::new("sh");
        let written = shell.args(["-c", write, "sh", &script]).args([new, binary]).status().unwrap();
        assert!(written.success());
    }

    async fn ask(&self, request: Builder, path: &str, body: impl Into<Body>) -> Response {
        let request = request.uri(format!("{}{path}", self.url)).body(body.into()).unwrap();
        front::client().request(request).await.unwrap().map(Body::new)
    }

    async fn post(&self, path: &str) -> Response {
        self.ask(Request::builder().method("POST"), path, "{}").await
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.front.take().into_iter().for_each(Front::stop);
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

fn pid(answer: &Response) -> u32 {
    answer.headers()["x-pid"].to_str().unwrap().parse().unwrap()
}

async fn text(answer: Response) -> String {
    String::from_utf8(to_bytes(answer.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_arrives_before_its_end() {
    let stage = Stage::new().await;
    let answer = stage.ask(Request::builder(), "/stream", Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body = answer.into_body();
    let mut read = String::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        read.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        if read == "first" {
            std::fs::write(stage.folder.join("gate"), "").unwrap();
        }
    }
    assert_eq!(read, "firstsecond");
    // the head alone, of the same route
    let head = stage.ask(Request::builder().method("HEAD"), "/stream", Body::empty()).await;
    assert_eq!((head.status(), text(head).await.as_str()), (StatusCode::OK, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_off_is_seen_to() {
    let stage = Stage::new().await;
    let answer = stage.ask(Request::builder(), "/breaks", Body::empty()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(to_bytes(answer.into_body(), usize::MAX).await.is_err());
    // killed by the clock in the middle
    let answer = stage.ask(Request::builder(), "/stream", Body::empty()).await;
    assert!(to_bytes(answer.into_body(), usize::MAX).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_the_stream_and_not_the_function() {
    let stage = Stage::new().await;
    let before = pid(&stage.post("/echo").await);
    for _ in 0..3 {
        let answer = stage.ask(Request::builder(), "/endless", Body::empty()).await;
        assert_eq!(pid(&answer), before);
        drop(answer);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(pid(&stage.post("/echo").await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_dies_is_replaced() {
    let stage = Stage::new().await;
    let before = pid(&stage.post("/echo").await);
    for path in ["/die", "/hang"] {
        let answer = stage.post(path).await;
        assert_eq!(
            (answer.status(), &answer.headers()["x-own"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"*".parse().unwrap())
        );
        let id = answer.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
        assert_eq!(text(answer).await, format!("{{\"request_id\":\"{id}\"}}"));
    }
    let after = stage.post("/echo").await;
    assert_eq!(after.status(), StatusCode::CREATED);
    assert_ne!(pid(&after), before);
    // one that ends while it is idle takes no request with it
    let mut last = pid(&after);
    for _ in 0..5 {
        processes::kill(last);
        processes::gone(&[last], Duration::from_secs(5)).await;
        let answer = stage.post("/echo").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
        assert_ne!(pid(&answer), last);
        last = pid(&answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_binary_is_run() {
    let stage = Stage::new().await;
    let before = pid(&stage.post("/echo").await);
    assert_eq!(pid(&stage.post("/echo").await), before);
    tokio::time::sleep(Duration::from_millis(20)).await; // the clock of a file system is coarse
    stage.build();
    assert_ne!(pid(&stage.post("/echo").await), before);
    assert_eq!(processes::gone(&[before], Duration::from_secs(5)).await, [0_u32; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_all_answer() {
    let stage = Stage::new().await;
    let crowd = (0..40).map(|_| stage.post("/slow"));
    let answers = futures_util::future::join_all(crowd).await;
    assert!(answers.iter().all(|answer| answer.status() == StatusCode::OK));
    let pids: std::collections::BTreeSet<u32> = answers.iter().map(pid).collect();
    assert!((2..=16).contains(&pids.len()), "{pids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_after_the_other_need_few() {
    let stage = Stage::new().await;
    let mut pids = std::collections::BTreeSet::new();
    for _ in 0..40 {
        pids.insert(pid(&stage.post("/echo").await));
    }
    assert!(pids.len() <= 4, "{pids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_bodies_come_and_go_byte_for_byte() {
    let stage = Stage::new().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let request = || Request::builder().method("POST").header("content-type", "application/octet-stream");
    let answer = stage.ask(request().header("accept", "application/octet-stream"), "/echo", bytes.clone()).await;
    assert_eq!(to_bytes(answer.into_body(), usize::MAX).await.unwrap(), bytes);
    let answer = stage.ask(request(), "/echo", bytes.clone()).await;
    assert_eq!(text(answer).await.len(), bytes.len().div_ceil(3) * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused() {
    let stage = Stage::new().await;
    let send = async |length: usize| {
        let answer = stage.ask(Request::builder().method("POST"), "/echo", vec![b'x'; length]).await;
        (answer.status(), text(answer).await)
    };
    assert_eq!(send(5 << 20).await.0, StatusCode::CREATED);
    let refused = (StatusCode::PAYLOAD_TOO_LARGE, "{\"message\":\"Request Too Long\"}".to_owned());
    assert_eq!(send(MAX_PAYLOAD_BYTES).await, refused); // the event around it has some bytes, too
    assert_eq!(send(MAX_REQUEST_BYTES + 1).await, refused);
    assert_eq!(send(3 * MAX_REQUEST_BYTES).await, refused);
    assert_eq!(stage.post("/large").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stage.post("/echo").await.status(), StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_its_function_agree_on_streaming() {
    let stage = Stage::new().await;
    assert_eq!(stage.ask(Request::builder(), "/echo", Body::empty()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut log = String::new();
    File::open(stage.folder.join("log")).unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("GET /echo and its function do not agree"), "{log}");
    assert_eq!(stage.post("/nowhere").await.status(), StatusCode::FORBIDDEN);
}
