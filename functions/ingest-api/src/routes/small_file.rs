//! `POST /api/v1/ingest/comprehensive` and `POST /api/v1/ingest/orders`: one small file in the request itself.
//!
//! It comes as the field `file` of a form, or as a raw body with `?dataset=` or `?name=`. It goes the way of every other
//! file: into the ledger, then into the bucket, whose event starts the rest.

use super::create_session::{check_name, name_error};
use crate::app::{App, check_open};
use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, Multipart, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use intake_domain::cut::Cutter;
use intake_domain::failure::Failure;
use intake_domain::format::{Compression, Format, Layout, is_suspicious};
use intake_domain::object_key::FileKey;
use intake_domain::record::Records;
use intake_domain::tolerance::Tolerance;
use intake_domain::upload::MAX_FILES;
use intake_domain::{Dataset, dataset, file_name};
use intake_lambda::Problem;
use intake_lambda::idempotent::once;
use intake_lambda::problem::FieldError;
use intake_postgres::ledger::{self, NewFile, NewSession, Policy};
use intake_postgres::retry;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::sync::Arc;
use uuid::Uuid;

/// The largest file that is taken in a request, in bytes. A function takes 6 MB, in which a file is Base64.
const MAX_BYTES: usize = 4 << 20;

/// How much is unpacked at a time to be counted, in bytes.
const BLOCK_BYTES: usize = 64 << 10;

/// How much is counted at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    dataset: Option<String>,
    name: Option<String>,
}

/// What is told of a file that was taken.
#[derive(Serialize)]
struct Taken<'a> {
    upload_id: Uuid,
    chunk_id: Uuid,
    upload_token: Uuid,
    data_type: &'static str,
    rows_received: u64,
    /// Nothing is promoted yet.
    rows_inserted: u64,
    rows_failed: u64,
    status: &'static str,
    idempotency_key: &'a str,
}

/// A file as it came.
struct Given {
    name: Option<String>,
    /// What the header says; a form leaves it to the name.
    layout: Option<Layout>,
    encoding: Option<Compression>,
    bytes: Bytes,
}

/// A file that may be taken.
struct SmallFile {
    dataset: &'static Dataset,
    name: String,
    format: Format,
    bytes: Bytes,
}

pub(crate) async fn comprehensive(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Response {
    let route = "POST /api/v1/ingest/comprehensive";
    take(&app, route, None, parameters, request).await.unwrap_or_else(IntoResponse::into_response)
}

pub(crate) async fn orders(
    State(app): State<Arc<App>>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Response {
    let (route, only) = ("POST /api/v1/ingest/orders", dataset::by_name("orders"));
    take(&app, route, only, parameters, request).await.unwrap_or_else(IntoResponse::into_response)
}

/// Takes a file, of the dataset `only` where the route takes no other.
async fn take(
    app: &App,
    route: &str,
    only: Option<&'static Dataset>,
    parameters: Result<Query<Parameters>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let tenant = app.tenant(&headers).await?;
    let bad = |code, detail: String| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let Query(parameters) = parameters.map_err(|error| bad("INVALID_QUERY", error.body_text()))?;
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap_or_default()).ok_or_else(|| {
        bad(
            "IDEMPOTENCY_KEY_REQUIRED",
            "Idempotency-Key is required: without it a file might be taken twice".to_owned(),
        )
    })?;
    let given = read(&headers, request).await?;
    let file = check(given, parameters, only)?;
    let (format, bytes) = (file.format, file.bytes.clone());
    let counted = tokio::task::spawn_blocking(move || count_rows(format, &bytes)).await;
    let rows = counted.map_err(|error| Problem::internal(&error))??;
    let token = upload_token(&headers)?;
    // what the request means; a form that is sent again may look different
    let mut meant = format!("{}\n{}\n{token:?}\n{format:?}\n", file.dataset.name, file.name).into_bytes();
    meant.extend_from_slice(&file.bytes);
    let work = async {
        let (upload_id, upload_token, file_id, data_type) = store(app, tenant, token, file).await?;
        let taken = Taken {
            upload_id,
            chunk_id: file_id,
            upload_token,
            data_type,
            rows_received: rows,
            rows_inserted: 0,
            rows_failed: 0,
            status: "queued",
            idempotency_key: key,
        };
        let body = serde_json::to_string(&taken).map_err(|error| Problem::internal(&error))?;
        Ok((StatusCode::CREATED, body))
    };
    Ok(once(&app.idempotency, tenant, route, &headers, &meant, work).await)
}

fn too_large() -> Problem {
    let detail = format!(
        "a file in a request has at most {MAX_BYTES} bytes; declare a larger one with POST /api/v1/ingest/sessions \
         and upload it to the URLs in the answer"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "PAYLOAD_TOO_LARGE", detail)
}

fn invalid(pointer: &str, code: &'static str, detail: impl Into<String>) -> Problem {
    Problem::invalid(vec![FieldError { pointer: format!("/{pointer}"), code, detail: detail.into() }])
}

/// The session that the file is added to, where one is named.
fn upload_token(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(token) = headers.get("upload-token") else { return Ok(None) };
    let token = token.to_str().ok().and_then(|token| Uuid::try_parse(token).ok());
    token.map(Some).ok_or_else(|| Problem::not_found("upload session"))
}

/// Reads the file out of a request.
async fn read(headers: &HeaderMap, request: Request) -> Result<Given, Problem> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = header(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let layout = match content_type.as_str() {
        "multipart/form-data" => return read_form(request).await,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Layout::Ndjson,
        "text/csv" => Layout::Csv,
        _ => {
            let detail = "Content-Type must be multipart/form-data, application/x-ndjson or text/csv";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
        }
    };
    let encoding = match header(header::CONTENT_ENCODING).trim().to_ascii_lowercase().as_str() {
        "" | "identity" => None,
        "gzip" | "x-gzip" => Some(Compression::Gzip),
        "zstd" => Some(Compression::Zstd),
        _ => {
            let detail = "Content-Encoding must be gzip or zstd, or not be there";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_ENCODING", detail));
        }
    };
    let bytes = Bytes::from_request(request, &()).await.map_err(|error| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Problem::new(StatusCode::BAD_REQUEST, "INVALID_BODY", error.body_text()),
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(Given { name: None, layout: Some(layout), encoding, bytes })
}

/// Reads the field `file` of a form; other fields are nobody's.
async fn read_form(request: Request) -> Result<Given, Problem> {
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "INVALID_MULTIPART", detail);
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => bad(error.body_text()),
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(error.body_text()))?;
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(more) = field.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MAX_BYTES {
                return Err(too_large());
            }
        }
        return Ok(Given { name, layout: None, encoding: None, bytes: bytes.into() });
    }
    Err(invalid("file", "MISSING_FILE", "the form has no such field"))
}

/// What the file is, by its name and by what is said of it.
fn check(given: Given, parameters: Parameters, only: Option<&'static Dataset>) -> Result<SmallFile, Problem> {
    let Given { name, layout, encoding, bytes } = given;
    if let Some(only) = only
        && parameters.dataset.as_deref().is_some_and(|dataset| dataset != only.name)
    {
        return Err(invalid("dataset", "DATASET_MISMATCH", format!("this path takes {} only", only.name)));
    }
    let dataset = only.map(|only| only.name).or(parameters.dataset.as_deref());
    let ending = layout.map(Layout::as_str);
    // browsers of old send the whole path
    let name = name.or(parameters.name).map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
    let name = match (name.filter(|name| !name.is_empty()), ending) {
        (Some(name), Some(ending)) if Format::of_name(&name).is_none() => format!("{name}.{ending}"),
        (Some(name), _) => name,
        (None, Some(ending)) => format!("{}.{ending}", dataset.unwrap_or_default()),
        (None, None) => return Err(invalid("file", "NO_DATASET", "the field has no file name, which says what it is")),
    };
    check_name(&name).map_err(|detail| invalid("name", "INVALID_NAME", detail))?;
    let named = file_name::classify(&name, dataset).map_err(|error| {
        let (field, code) = name_error(&error);
        invalid(field, code, error.to_string())
    });
    let (dataset, mut format) = named?;
    if let (Some(only), Ok((said, _))) = (only, file_name::classify(&name, None))
        && said.name != only.name
    {
        let detail = format!("says {}, but this path takes {} only", said.name, only.name);
        return Err(invalid("name", "DATASET_MISMATCH", detail));
    }
    if layout.is_some_and(|layout| layout != format.layout) {
        return Err(invalid("name", "FORMAT_MISMATCH", "has another ending than Content-Type says"));
    }
    let found = Compression::of_bytes(&bytes);
    if encoding == Some(found) {
        format.compression = found;
    } else if found != format.compression {
        // what a gateway unpacked on the way is no longer encoded, and then it is what its name says
        let detail = "says another compression than the bytes have";
        return Err(invalid("name", "FORMAT_MISMATCH", detail));
    }
    Ok(SmallFile { dataset, name, format, bytes })
}

/// How many rows a file has, whether they are good or not.
fn count_rows(format: Format, bytes: &[u8]) -> Result<u64, Problem> {
    let mut unpacked: Box<dyn Read + '_> = match format.compression {
        Compression::None => Box::new(bytes),
        Compression::Gzip => Box::new(MultiGzDecoder::new(bytes)),
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(bytes).map_err(corrupt)?),
    };
    let mut cutter = Cutter::new(format.layout, PIECE_BYTES);
    let (mut block, mut length, mut records) = (vec![0; BLOCK_BYTES], 0_u64, 0_u64);
    loop {
        let read = unpacked.read(&mut block).map_err(corrupt)?;
        length += read as u64;
        if is_suspicious(bytes.len() as u64, length) {
            let detail = "unpacks to more than any honest file does";
            return Err(invalid("file", Failure::SuspiciousCompression.as_str(), detail));
        }
        cutter.push(&block[..read]);
        while let Some(piece) = cutter.cut(read == 0) {
            records += Records::new(format.layout, &piece.bytes).count() as u64;
        }
        if read == 0 {
            break;
        }
    }
    let headers = u64::from(format.layout == Layout::Csv);
    Ok(records.saturating_sub(headers))
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err passes it")]
fn corrupt(error: io::Error) -> Problem {
    invalid("file", Failure::CorruptCompression.as_str(), format!("cannot be unpacked: {error}"))
}

/// Declares a file and puts it into the bucket: into the session of `token`, or one of its own. Returns the session's
/// id and token, the file's id and its dataset.
async fn store(
    app: &App,
    tenant: Uuid,
    token: Option<Uuid>,
    file: SmallFile,
) -> Result<(Uuid, Uuid, Uuid, &'static str), Problem> {
    let SmallFile { dataset, name, format, bytes } = file;
    let new = |policy| NewFile {
        file_id: Uuid::now_v7(),
        dataset,
        name,
        format,
        size_bytes: bytes.len() as i64,
        sha256: None,
        multipart_upload_id: None,
        policy,
    };
    let (session_id, upload_token, file_id) = match token {
        Some(token) => {
            let session = app.session(tenant, &token.to_string()).await?;
            check_open(&session)?;
            let files = [new(session.policy)];
            let scope = app.database.begin(tenant).await?;
            if ledger::count_files(&scope, session.session_id).await? >= MAX_FILES as i64 {
                let detail = format!("a session has at most {MAX_FILES} files; go on with another one");
                return Err(Problem::new(StatusCode::CONFLICT, "SESSION_FULL", detail));
            }
            ledger::add_files(&scope, session.session_id, &files).await?;
            scope.commit().await?;
            (session.session_id, token, files[0].file_id)
        }
        None => {
            let policy = Policy { tolerance: Tolerance::Any, reject_missing_references: false };
            let (session_id, upload_token) = (Uuid::now_v7(), Uuid::new_v4());
            let session =
                NewSession { session_id, upload_token, manifest: None, dry_run: false, callback_url: None, policy };
            let files = [new(policy)];
            let scope = app.database.begin(tenant).await?;
            ledger::create_session(&scope, &session, &files).await?;
            scope.commit().await?;
            (session_id, upload_token, files[0].file_id)
        }
    };
    let key = FileKey { tenant_id: tenant, session_id, file_id };
    if let Err(error) = app.objects.put(&key.to_string(), bytes).await {
        give_up(app, key).await;
        return Err(error.into());
    }
    Ok((session_id, upload_token, file_id, dataset.name))
}

/// Ends a file that did not get into the bucket, so that it holds up nobody behind it.
async fn give_up(app: &App, key: FileKey) {
    let detail = "the file could not be stored; whoever sent it was told so";
    let failed = retry("fail_file", || async {
        let scope = app.database.begin(key.tenant_id).await?;
        ledger::fail_file(&scope, key.file_id, Failure::NeverArrived, detail).await?;
        scope.commit().await
    });
    match failed.await {
        // what goes wrong here is logged, and whoever sent the file is told of its own failure
        Ok(()) => drop(app.wake(key).await),
        Err(error) => drop(Problem::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression as Level;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn rows(layout: Layout, compression: Compression, bytes: &[u8]) -> Option<u64> {
        count_rows(Format { layout, compression }, bytes).ok()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Level::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    #[test]
    fn rows_are_counted_whatever_they_come_in() {
        let (ndjson, csv) = (b"{}\n\n \r\nx\n{}", b"a,b\r\n1,\"2\n3\"\r\n\r\n4,5");
        for (compression, pack) in [
            (Compression::None, (|bytes| bytes.to_vec()) as fn(&[u8]) -> Vec<u8>),
            (Compression::Gzip, gzip),
            (Compression::Zstd, |bytes| zstd::encode_all(bytes, 1).expect("memory")),
        ] {
            assert_eq!(rows(Layout::Ndjson, compression, &pack(ndjson)), Some(3));
            assert_eq!(rows(Layout::Csv, compression, &pack(csv)), Some(2));
            assert_eq!(rows(Layout::Csv, compression, &pack(b"")), Some(0));
        }
        let two_members = [gzip(b"{}\n"), gzip(b"{}\n")].concat();
        assert_eq!(rows(Layout::Ndjson, Compression::Gzip, &two_members), Some(2));
        assert_eq!(rows(Layout::Ndjson, Compression::Gzip, &two_members[..40]), None, "it is cut off");
        let bomb = gzip(&vec![b' '; 100 << 20]);
        assert_eq!(rows(Layout::Ndjson, Compression::Gzip, &bomb), None);
    }

    #[test]
    fn a_file_is_what_its_name_and_headers_say() {
        let checked = |name: &str, layout, encoding, dataset: Option<&str>, bytes: &[u8]| {
            let (name, dataset) = (Some(name.to_owned()).filter(|name| !name.is_empty()), dataset.map(str::to_owned));
            let given = Given { name: None, layout, encoding, bytes: Bytes::copy_from_slice(bytes) };
            let file = check(given, Parameters { dataset, name }, dataset::by_name("orders"));
            file.map(|file| (file.name, file.format.compression)).map_err(|problem| problem.status().as_u16())
        };
        let (ndjson, gzip) = (Some(Layout::Ndjson), gzip(b"{}"));
        let (plain, packed) = (Compression::None, Compression::Gzip);
        let named = |name: &str, compression| Ok((name.to_owned(), compression));
        assert_eq!(checked("", ndjson, None, None, b"{}"), named("orders.ndjson", plain));
        assert_eq!(checked("C:\\x\\orders_1.jsonl", ndjson, None, None, b"{}"), named("orders_1.jsonl", plain));
        assert_eq!(checked("orders_1", ndjson, None, None, b"{}"), named("orders_1.ndjson", plain));
        assert_eq!(checked("", ndjson, Some(packed), None, &gzip), named("orders.ndjson", packed));
        assert_eq!(
            checked("", ndjson, Some(packed), None, b"{}"),
            named("orders.ndjson", plain),
            "unpacked on the way"
        );
        assert_eq!(checked("a.ndjson.gz", None, None, None, &gzip), named("a.ndjson.gz", packed));
        for (name, layout, dataset, bytes) in [
            ("a.ndjson.gz", None, None, &b"{}"[..]),
            ("a.ndjson", None, None, &gzip),
            ("a.csv", ndjson, None, b"{}"),
            ("customers_1.ndjson", None, None, b"{}"),
            ("", ndjson, Some("customers"), b"{}"),
            ("a.pdf", None, None, b"{}"),
        ] {
            assert_eq!(checked(name, layout, None, dataset, bytes), Err(422), "{name}");
        }
    }
}
