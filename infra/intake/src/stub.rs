//! A server for tests: answers each request with what a function says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `GET /path`.
    pub(crate) line: String,
    /// In lower case, `name: value`.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

/// Status, a header (`name: value`, or nothing), and body.
pub(crate) type Answer = (u16, &'static str, String);

/// The server; it ends with the process.
pub(crate) struct Stub {
    /// Where it listens.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    /// Answers every request with `answer`, which is given the server's address too.
    pub(crate) fn start(answer: impl Fn(&Request, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, address, log) = (Arc::new(answer), url.clone(), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, address, log) = (Arc::clone(&answer), address.clone(), Arc::clone(&log));
                thread::spawn(move || {
                    let request = read(&stream);
                    log.lock().unwrap().push(request.clone());
                    let (status, header, body) = answer(&request, &address);
                    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} x\r\n{header}connection: close\r\ncontent-length: {length}");
                    write!(&stream, "{head}\r\n\r\n{body}").unwrap();
                });
            }
        });
        Self { url, requests }
    }

    /// All requests so far, in the order in which they came.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests began with this.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.requests().iter().filter(|request| request.line.starts_with(start)).count()
    }
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    let headers: Vec<_> = lines.iter().map(|line| line.to_lowercase()).collect();
    let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { line, headers, body: String::from_utf8(body).unwrap() }
}
