//! The client of the public API: what any client of Intake could do, and nothing besides.

mod exports;
mod messages;

use std::collections::BTreeMap;
use std::io::{self, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::time::sleep;
use uuid::Uuid;

pub use self::exports::{Export, Manifest, Range};
pub use self::messages::{
    Bytes, Cause, Chunks, FailedChunk, FileStatus, Format, Limits, ListedSession, Part, Refusal, Resumed, ResumedFile,
    Rows, Session, SessionFile, Status, Times, Upload, Webhook, WebhookAttempt,
};
use crate::data_files::LocalFile;
use crate::policy::Policy;

const SESSIONS: &str = "/api/v1/ingest/sessions";

/// RFC 7240: how long the server may take.
const PREFER: &str = "prefer";

/// RFC 7240: what it made of that.
const PREFERENCE_APPLIED: &str = "preference-applied";

/// Files that one session takes.
pub const FILES_PER_SESSION: usize = 500;

/// How often a request is sent again: about 8 seconds in all, and longer where the server asks for it.
const RETRIES: u32 = 5;

/// How long an answer may take, beyond the time to send the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// An upload slower than this is given up.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

/// Bytes of a file that each upload under way holds in memory.
const READ_BYTES: usize = 256 * 1024;

/// A file as a session declares it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Declared<'a> {
    /// Its name, without the folder.
    pub name: &'a str,
    /// What it holds.
    pub dataset: &'static str,
    /// Its size.
    pub size_bytes: u64,
    /// Its digest in hexadecimal, if the server shall hold the file against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<&'a str>,
}

#[derive(Serialize)]
struct Declaration<'a> {
    files: &'a [Declared<'a>],
    #[serde(flatten)]
    policy: &'a Policy,
}

/// A tenant's access to the API.
#[derive(Clone)]
pub struct Api {
    http: Client,
    /// For answers that are streamed.
    streams: Client,
    /// For answers that lead elsewhere, where the key must not go.
    unfollowed: Client,
    url: String,
    key: HeaderValue,
}

impl Api {
    /// The API at `url`, with a tenant's key.
    pub fn new(url: &str, key: &str) -> anyhow::Result<Self> {
        let mut key = HeaderValue::from_str(key).context("the API key holds characters that no header can")?;
        key.set_sensitive(true);
        let client = || Client::builder().connect_timeout(Duration::from_secs(5));
        let (http, streams) = (client().build()?, client().read_timeout(ANSWER_TIMEOUT).build()?);
        let unfollowed = client().redirect(redirect::Policy::none()).build()?;
        Ok(Self { http, streams, unfollowed, url: url.trim_end_matches('/').to_owned(), key })
    }

    /// The API's address, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Opens a session for these files.
    pub async fn create_session(&self, files: &[Declared<'_>], policy: &Policy) -> anyhow::Result<Session> {
        let body = Declaration { files, policy };
        // One key for all attempts: an answer that was lost must not leave a second session.
        let idempotency_key = Uuid::new_v4().to_string();
        let request = || {
            let request = self.request(Method::POST, SESSIONS);
            request.header("Idempotency-Key", &idempotency_key).json(&body)
        };
        read_json(self.send(request).await).await.context("cannot open an upload session")
    }

    /// Lets a session go on: answers what is still to be uploaded, and retries chunks that failed; these alone, if any
    /// are named.
    pub async fn resume(&self, token: &str, chunks: &[u32]) -> anyhow::Result<Resumed> {
        let body = if chunks.is_empty() { json!({}) } else { json!({"chunk_indices": chunks}) };
        let request = || self.request(Method::POST, &session_path(token, "resume")).json(&body);
        read_json(self.send(request).await).await.with_context(|| format!("cannot resume session {token}"))
    }

    /// Asks for the end of a session; answers its state as the server words it.
    pub async fn cancel(&self, token: &str) -> anyhow::Result<Value> {
        let request = || self.request(Method::POST, &session_path(token, "cancel")).json(&json!({}));
        read_json(self.send(request).await).await.with_context(|| format!("cannot cancel session {token}"))
    }

    /// One page of the tenant's sessions as the server words it, newest first.
    pub async fn sessions(&self, limit: u64, state: Option<&str>, cursor: Option<&str>) -> anyhow::Result<Value> {
        let mut path = format!("{SESSIONS}?limit={limit}");
        for (name, value) in [("state", state), ("cursor", cursor)] {
            if let Some(value) = value {
                path += &format!("&{name}={}", percent_encode(value));
            }
        }
        read_json(self.send(|| self.request(Method::GET, &path)).await).await.context("cannot list the sessions")
    }

    /// Sends a range of a file to an address that is signed for it.
    pub async fn put(
        &self,
        url: &str,
        mut headers: HeaderMap,
        file: &LocalFile,
        offset: u64,
        length: u64,
    ) -> anyhow::Result<()> {
        headers.insert(CONTENT_LENGTH, length.into());
        let timeout = ANSWER_TIMEOUT + Duration::from_secs(length / SLOWEST_BYTES_PER_SECOND);
        let body = || FileRange::body(file.path.clone(), offset, length);
        self.send(|| self.http.put(url).headers(headers.clone()).timeout(timeout).body(body())).await?;
        Ok(())
    }

    /// Says that all parts of a file have been sent.
    pub async fn complete(&self, complete_path: &str) -> anyhow::Result<()> {
        // Nothing is said of an empty body's length by itself, and some servers insist.
        self.send(|| self.request(Method::POST, complete_path).header(CONTENT_LENGTH, 0)).await?;
        Ok(())
    }

    /// A session's state as the server words it, and when to ask again. The server may take `wait` to answer, if that
    /// spares asking again.
    pub async fn status_document(&self, token: &str, wait: Duration) -> anyhow::Result<(Value, Duration)> {
        let asked = Instant::now();
        let request = || {
            let request = self.request(Method::GET, &session_path(token, "status"));
            if wait.is_zero() { request } else { request.header(PREFER, format!("wait={}", wait.as_secs())) }
        };
        let response = self.send(request).await;
        let pause = response.as_ref().ok().map_or(Duration::ZERO, |response| {
            let pause = retry_after(response).unwrap_or(Duration::from_secs(1));
            // A server that waited has made the pause itself; one that only says so is not asked without end.
            let waited = response.headers().contains_key(PREFERENCE_APPLIED);
            if waited { pause.saturating_sub(asked.elapsed()) } else { pause }
        });
        let document = read_json(response).await.with_context(|| format!("cannot look at session {token}"))?;
        Ok((document, pause))
    }

    /// A session's state, and when to ask again; see [`Api::status_document`].
    pub async fn status(&self, token: &str, wait: Duration) -> anyhow::Result<(Status, Duration)> {
        let (document, pause) = self.status_document(token, wait).await?;
        Ok((read_status(document)?, pause))
    }

    /// Writes a session's rejects, a line each, as they come; answers where the rest begins, if that was not all.
    pub async fn rejects(
        &self,
        token: &str,
        cursor: Option<&str>,
        out: &mut impl Write,
    ) -> anyhow::Result<Option<String>> {
        let query = cursor.map_or(String::new(), |cursor| format!("?cursor={}", percent_encode(cursor)));
        let path = session_path(token, "rejects") + &query;
        let response = self.send(|| self.stream(Method::GET, &path)).await;
        let mut response = response.with_context(|| format!("cannot read the rejects of session {token}"))?;
        let mut pending: Vec<u8> = Vec::new();
        let mut meta = None;
        loop {
            let chunk = response.chunk().await.map_err(reqwest::Error::without_url)?;
            // The last line may lack its newline.
            pending.extend_from_slice(chunk.as_deref().unwrap_or(b"\n"));
            let lines = pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            for line in pending.drain(..lines).as_slice().split_inclusive(|byte| *byte == b'\n') {
                match line {
                    b"\n" => (),
                    line if line.starts_with(b"{\"_meta\"") => meta = Some(serde_json::from_slice::<Value>(line)?),
                    line if line.starts_with(b"{\"error\"") => bail!("the server broke off: {}", line.escape_ascii()),
                    line => out.write_all(line)?,
                }
            }
            if chunk.is_none() {
                break;
            }
        }
        let meta = meta.context("the server's answer is cut off: its last line is missing")?;
        Ok(meta["_meta"]["next_cursor"].as_str().map(str::to_owned))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        request.header("X-API-Key", self.key.clone()).timeout(ANSWER_TIMEOUT)
    }

    /// As `request`, and an answer that leads elsewhere is the answer.
    fn request_unfollowed(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.unfollowed.request(method, format!("{}{path}", self.url));
        request.header("X-API-Key", self.key.clone()).timeout(ANSWER_TIMEOUT)
    }

    /// A request whose answer may take as long as it likes, if only it goes on.
    fn stream(&self, method: Method, path: &str) -> RequestBuilder {
        self.streams.request(method, format!("{}{path}", self.url)).header("X-API-Key", self.key.clone())
    }

    /// Sends a request until it is answered for good. Every request here may be repeated: the one that has an effect
    /// carries an idempotency key.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> anyhow::Result<Response> {
        let mut attempt = 0;
        loop {
            let (failure, pause) = match request().send().await {
                // what leads elsewhere is followed, unless it was asked for itself
                Ok(response) if response.status().is_success() || response.status().is_redirection() => {
                    return Ok(response);
                }
                Ok(response) => {
                    let pause = retry_after(&response);
                    let retry = match response.status() {
                        StatusCode::TOO_MANY_REQUESTS => true,
                        // The first attempt is still being answered.
                        StatusCode::CONFLICT => pause.is_some(),
                        status => status.is_server_error(),
                    };
                    let refusal = Refusal::read(response).await;
                    if !retry {
                        return Err(refusal.into());
                    }
                    (anyhow!(refusal), pause)
                }
                Err(error) if error.is_builder() => return Err(error.without_url().into()),
                Err(error) if error.is_connect() => {
                    let hint = format!("cannot reach {}, is the stack running?", self.url);
                    (anyhow!(error.without_url()).context(hint), None)
                }
                // An address may carry a signature, which is as good as a key.
                Err(error) => (anyhow!(error.without_url()), None),
            };
            if attempt == RETRIES {
                return Err(failure);
            }
            sleep(pause.unwrap_or_else(|| backoff(attempt))).await;
            attempt += 1;
        }
    }
}

/// A session's state, from the server's words.
pub fn read_status(document: Value) -> anyhow::Result<Status> {
    serde_json::from_value(document).context("the server's answer is not what this version expects")
}

fn session_path(token: &str, what: &str) -> String {
    // A token that was mistyped must not become another path.
    format!("{SESSIONS}/{}/{what}", percent_encode(token))
}

async fn read_json<T: DeserializeOwned>(response: anyhow::Result<Response>) -> anyhow::Result<T> {
    let bytes = response?.bytes().await.map_err(reqwest::Error::without_url)?;
    serde_json::from_slice(&bytes).context("the server's answer is not what this version expects")
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
fn percent_encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// The headers that an address is signed for.
pub fn header_map(headers: &BTreeMap<String, String>) -> anyhow::Result<HeaderMap> {
    let parse = |(name, value): (&String, &String)| Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?));
    headers.iter().map(parse).collect::<anyhow::Result<_>>().context("the server asks for a header that cannot be sent")
}

/// The seconds that `Retry-After` names, between a tenth and a minute.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: f64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds.clamp(0.1, 60.0)).ok()
}

/// A quarter of a second, doubled with every attempt, half of it or half as much again, so that clients do not fall
/// into step.
fn backoff(attempt: u32) -> Duration {
    let jitter = getrandom::u32().map_or(1.0, |random| 0.5 + f64::from(random) / f64::from(u32::MAX));
    Duration::from_millis(250 << attempt).mul_f64(jitter)
}

/// A range of a file, read as it is sent. A file that has become shorter is an error.
struct FileRange {
    path: PathBuf,
    file: Option<File>,
    offset: u64,
    left: u64,
}

impl FileRange {
    fn body(path: PathBuf, offset: u64, length: u64) -> Body {
        Body::wrap_stream(stream::try_unfold(Self { path, file: None, offset, left: length }, Self::next))
    }

    async fn next(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                let mut file = File::open(&self.path).await?;
                file.seek(SeekFrom::Start(self.offset)).await?;
                file
            }
        };
        let mut bytes = vec![0; READ_BYTES.min(usize::try_from(self.left).unwrap_or(READ_BYTES))];
        file.read_exact(&mut bytes).await?;
        self.left -= bytes.len() as u64;
        self.file = Some(file);
        Ok(Some((bytes, self)))
    }
}
