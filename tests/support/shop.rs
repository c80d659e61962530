//! A shop: a tenant with its key, which uploads files as its scripts would.

use super::{Books, Ground};
use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use intake_domain::api_key::ApiKey;
use intake_domain::audit::KeyEvent;
use intake_domain::reject::RowError;
use intake_postgres::admin::{self, NewTenant};
use intake_postgres::keys::NewKey;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long an upload may take on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(180);

const POLL: Duration = Duration::from_millis(100);

/// A file to upload.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    pub(crate) fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    /// As a session declares it.
    pub(crate) fn declared(&self) -> Value {
        json!({"name": self.name, "size_bytes": self.bytes.len()})
    }
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// Reads an answer to its end.
    pub(crate) async fn to(request: RequestBuilder) -> Result<Self> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Self { status, headers, text: answer.text().await? })
    }

    /// The document in it, if it is of that status.
    pub(crate) fn json(&self, status: u16) -> Result<Value> {
        ensure!(self.status == status, "{status} expected: {self:?}");
        serde_json::from_str(&self.text).with_context(|| format!("{self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A session as it was created.
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) id: Uuid,
    /// The files, as declared.
    pub(crate) files: Vec<Value>,
}

impl Session {
    /// As the answer tells of it that created it.
    pub(crate) fn read(created: &Value) -> Result<Self> {
        Ok(Self {
            token: created["upload_token"].as_str().context("a token")?.to_owned(),
            id: created["upload_id"].as_str().context("an id")?.parse()?,
            files: created["files"].as_array().context("files")?.clone(),
        })
    }

    pub(crate) fn file_id(&self, at: usize) -> Uuid {
        self.files[at]["file_id"].as_str().and_then(|id| id.parse().ok()).unwrap_or_default()
    }
}

/// A refused row as the API tells of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Reject {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) byte_offset: usize,
    pub(crate) key: Option<String>,
    pub(crate) errors: Vec<RowError>,
    /// As it stands in the answer: a parser may not be made for how deep it is.
    pub(crate) record: Box<RawValue>,
}

/// What became of the rows of a file or session: accepted, inserted, updated, unchanged, rejected.
pub(crate) fn counts(of: &Value) -> [i64; 5] {
    ["accepted", "inserted", "updated", "unchanged", "rejected"].map(|name| of["rows"][name].as_i64().unwrap_or(-1))
}

/// A file in a status.
pub(crate) fn file_named<'a>(status: &'a Value, name: &str) -> &'a Value {
    let files = status["files"].as_array().into_iter().flatten();
    files.into_iter().find(|file| file["name"] == name).unwrap_or(&Value::Null)
}

/// A tenant.
pub(crate) struct Shop {
    pub(crate) ground: Arc<Ground>,
    pub(crate) id: Uuid,
    pub(crate) key: ApiKey,
    pub(crate) books: Books,
}

impl Shop {
    /// Opens a new shop.
    pub(crate) async fn open(ground: &Arc<Ground>) -> Result<Self> {
        let url = &ground.endpoints.owner_database_url;
        let id = Uuid::now_v7();
        let mut random = [0; 32];
        random[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        let key = ApiKey::generate(random);
        let tenant = NewTenant { id, name: "A shop".to_owned(), key: NewKey::from(&key) };
        let mut owner = intake_postgres::connect(url).await?;
        ensure!(admin::add_tenant(&mut owner, &tenant, KeyEvent::Added).await?, "the tenant is new");
        Ok(Self { ground: Arc::clone(ground), id, key, books: Books::new(url, id) })
    }

    /// A request to the API with the shop's key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.ground.endpoints.api_url);
        self.ground.http.request(method, url).header("x-api-key", self.key.as_str())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        let body = body.to_string();
        Answer::to(self.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Creates a session from the body of a request.
    pub(crate) async fn create(&self, body: &Value) -> Result<Session> {
        Session::read(&self.post("/api/v1/ingest/sessions", body).await?.json(201)?)
    }

    /// Declares files.
    pub(crate) async fn declare(&self, files: &[File]) -> Result<Session> {
        self.create(&json!({"files": files.iter().map(File::declared).collect::<Vec<_>>()})).await
    }

    /// Uploads a file to where its session says.
    pub(crate) async fn put(&self, file: &Value, bytes: &[u8]) -> Result<()> {
        let upload = &file["upload"];
        let Some(parts) = upload["parts"].as_array() else {
            let answer = self.put_to(upload, bytes).await?;
            ensure!(answer.status == 200, "PUT: {answer:?}");
            return Ok(());
        };
        let part_bytes = upload["part_size_bytes"].as_u64().context("a part size")? as usize;
        try_join_all(parts.iter().zip(bytes.chunks(part_bytes)).map(async |(part, bytes)| {
            let answer = self.put_to(part, bytes).await?;
            ensure!(answer.status == 200, "PUT of a part: {answer:?}");
            Ok(())
        }))
        .await?;
        self.complete(file).await?.json(200).map(drop)
    }

    /// One PUT to a presigned URL with the headers that it was signed for, but for the length, which is the body's.
    pub(crate) async fn put_to(&self, upload: &Value, bytes: &[u8]) -> Result<Answer> {
        let url = upload["url"].as_str().context("a URL")?;
        let signed: HashMap<String, String> = match &upload["headers"] {
            Value::Null => HashMap::new(),
            headers => Deserialize::deserialize(headers)?,
        };
        let mut headers = HeaderMap::try_from(&signed)?;
        headers.insert(CONTENT_LENGTH, bytes.len().into()); // nothing is said of an empty body's by itself
        let request = self.ground.http.put(url).header(CONTENT_TYPE, "application/octet-stream");
        Answer::to(request.headers(headers).body(bytes.to_vec())).await
    }

    /// Says that all parts of a file are there.
    pub(crate) async fn complete(&self, file: &Value) -> Result<Answer> {
        let path = file["upload"]["complete_path"].as_str().context("a path")?;
        Answer::to(self.request(Method::POST, path).header(CONTENT_LENGTH, 0)).await
    }

    /// Declares files, uploads them, waits for their end, and sees the books balance.
    pub(crate) async fn send(&self, files: &[File]) -> Result<(Session, Value)> {
        let session = self.declare(files).await?;
        self.upload(&session, files).await?;
        let status = self.finished(&session).await?;
        Ok((session, status))
    }

    /// Uploads the files of a session, one after another.
    pub(crate) async fn upload(&self, session: &Session, files: &[File]) -> Result<()> {
        for (declared, file) in session.files.iter().zip(files) {
            self.put(declared, &file.bytes).await?;
        }
        Ok(())
    }

    pub(crate) async fn status(&self, session: &Session) -> Result<Value> {
        let answer = self.get(&format!("/api/v1/ingest/sessions/{}/status", session.token)).await?;
        let status = answer.json(200)?;
        let is_terminal = is_terminal(&status);
        ensure!(answer.headers.contains_key("retry-after") != is_terminal, "Retry-After until the end: {answer:?}");
        Ok(status)
    }

    /// Waits for the session's end, sees the books balance and nothing left staged.
    pub(crate) async fn finished(&self, session: &Session) -> Result<Value> {
        let status = self.ended(session).await?;
        if status["state"].as_str().is_some_and(|state| state.starts_with("completed")) {
            self.staging_is_empty(session).await?;
        }
        Ok(status)
    }

    /// Waits for the session's end, during which progress must never go back, and sees the books balance.
    pub(crate) async fn ended(&self, session: &Session) -> Result<Value> {
        let (since, mut before) = (Instant::now(), progress(&Value::Null));
        loop {
            let status = self.status(session).await?;
            let now = progress(&status);
            ensure!(before.iter().zip(&now).all(|(before, now)| before <= now), "progress went back: {status:#}");
            if is_terminal(&status) {
                self.check(&status).await.with_context(|| format!("{status:#}"))?;
                return Ok(status);
            }
            if since.elapsed() > PATIENCE {
                bail!("no end after {} s: {status:#}", PATIENCE.as_secs());
            }
            before = now;
            tokio::time::sleep(POLL).await;
        }
    }

    /// What must hold of every session that has ended.
    pub(crate) async fn check(&self, status: &Value) -> Result<()> {
        let mut sum = [0; 5];
        for file in status["files"].as_array().context("files")? {
            let [accepted, inserted, updated, unchanged, rejected] = counts(file);
            for (sum, count) in sum.iter_mut().zip(counts(file)) {
                *sum += count;
            }
            let stored = self.books.rejects(file["file_id"].as_str().context("an id")?.parse()?).await?;
            ensure!(stored == rejected, "{stored} rejects are stored of {rejected}");
            if file["state"].as_str().is_some_and(|state| state.starts_with("completed")) {
                ensure!(accepted == inserted + updated + unchanged + rejected, "every row is accounted for");
                ensure!((file["state"] == "completed") == (rejected == 0), "the state tells of rejects");
                ensure!(file["chunks"]["promoted"] == file["chunks"]["total"], "no chunk is open");
                ensure!(file["loaded_bytes"] == file["size_bytes"], "every byte was read");
            }
        }
        ensure!(counts(status) == sum, "the session is the sum of its files");
        self.books.balance().await
    }

    /// Staged objects go right after the end is shown.
    async fn staging_is_empty(&self, session: &Session) -> Result<()> {
        let prefix = format!("staging/{}/sessions/{}/", self.id, session.id);
        let since = Instant::now();
        loop {
            let list = self.ground.s3.list_objects_v2().bucket(&self.ground.endpoints.bucket).prefix(&prefix);
            let left = list.send().await?.contents.unwrap_or_default();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(since.elapsed() < Duration::from_secs(5), "{} staged objects are left: {left:?}", left.len());
            tokio::time::sleep(POLL).await;
        }
    }

    /// All rejects of a session, read in pages of `limit`.
    pub(crate) async fn rejects(&self, session: &Session, limit: usize) -> Result<Vec<Reject>> {
        let (mut rejects, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let path = format!("/api/v1/ingest/sessions/{}/rejects?limit={limit}{after}", session.token);
            let answer = self.get(&path).await?;
            ensure!(answer.status == 200, "{answer:?}");
            ensure!(answer.header("content-type") == Some("application/x-ndjson"), "{answer:?}");
            let (page, meta) = answer.text.trim_end().rsplit_once('\n').unwrap_or(("", answer.text.trim_end()));
            let page = page.lines().map(serde_json::from_str).collect::<Result<Vec<Reject>, _>>()?;
            let meta: Value = serde_json::from_str(meta)?;
            let meta = meta.get("_meta").context("a page that is whole ends with its _meta")?;
            ensure!(meta["rejects"] == page.len() && page.len() <= limit, "{meta}");
            rejects.extend(page);
            match meta["next_cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(rejects),
            }
        }
    }
}

fn is_terminal(status: &Value) -> bool {
    ["completed", "completed_with_errors", "failed", "expired", "cancelled"]
        .iter()
        .any(|state| status["state"] == *state)
}

/// Numbers that never become smaller.
fn progress(status: &Value) -> Vec<i64> {
    let sum = |pointer: &str| {
        let files = status["files"].as_array().into_iter().flatten();
        files.filter_map(|file| file.pointer(pointer)?.as_i64()).sum()
    };
    let numbers = ["total", "staged", "promoted", "failed"].map(|name| sum(&format!("/chunks/{name}")));
    let rows = ["accepted", "promoted", "rejected"].map(|name| sum(&format!("/rows/{name}")));
    [sum("/loaded_bytes")].into_iter().chain(numbers).chain(rows).collect()
}
