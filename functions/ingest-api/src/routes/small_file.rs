//! `POST /api/v1/ingest/comprehensive` and `POST /api/v1/ingest/orders`: one small file in the request itself.
//!
//! It comes as the field `file` of a form, or as a raw body with `?dataset=` or `?name=`. It goes the way of every
//! other file: into the ledger, then into the bucket, whose event starts the rest.

use super::create_session::{check_name, name_error};
use crate::app::{App, check_open};
use crate::words;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use flate2::read::MultiGzDecoder;
use intake_domain::cut::Cutter;
use intake_domain::format::{Compression, Format, Layout, is_suspicious};
use intake_domain::idempotency::Answer;
use intake_domain::object_key::FileKey;
use intake_domain::record::Records;
use intake_domain::state::FileState;
use intake_domain::tolerance::Tolerance;
use intake_domain::upload::MAX_FILES;
use intake_domain::{Dataset, dataset, file_name};
use intake_lambda::Problem;
use intake_lambda::edge::idempotency::replay;
use intake_lambda::edge::{Accepts, Claimed, File, Query, Tenant};
use intake_lambda::fail_point;
use intake_lambda::problem::{Code, FieldCode, FieldError};
use intake_lambda::trace;
use intake_postgres::ledger::{self, NewFile, NewSession, Policy};
use intake_postgres::{Scope, retry};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// How much is unpacked at a time to be counted, in bytes.
const BLOCK_BYTES: usize = 64 << 10;

/// How much is counted at a time, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// What a request is refused with, besides what its form says.
pub(super) const REFUSALS: &[Code] = &[
    Code::InvalidMultipart,
    Code::UnsupportedEncoding,
    Code::NotFound,
    Code::SessionFull,
    Code::Cancelled,
    Code::Expired,
];

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    /// What the file has rows of, where its name does not say it.
    #[param(value_type = Option<words::Dataset>, nullable = false)]
    dataset: Option<String>,
    /// The file's name, where the request has none. Its ending may be left out.
    #[param(max_length = 255, nullable = false, example = "orders_1.ndjson")]
    name: Option<String>,
}

/// A form with a file.
#[derive(ToSchema)]
#[schema(as = FileForm)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
pub(crate) struct Form {
    /// At most 4 MiB. Its file name says the dataset and the format, as `orders_1.ndjson.gz`.
    #[schema(value_type = String, format = Binary)]
    file: Bytes,
}

/// What is told of a file that was taken.
#[derive(Serialize, ToSchema)]
#[schema(as = FileTaken)]
struct Taken<'a> {
    upload_id: Uuid,
    /// The file's id.
    chunk_id: Uuid,
    /// Opens the session that the file is in.
    upload_token: Uuid,
    #[schema(value_type = words::Dataset)]
    data_type: &'static str,
    /// How many rows the file has, whether they are good or not.
    rows_received: u64,
    /// Nothing is promoted yet: the session's status tells what becomes of the rows.
    rows_inserted: u64,
    rows_failed: u64,
    #[schema(pattern = "^queued$")]
    status: &'static str,
    idempotency_key: &'a str,
}

/// A file that may be taken.
struct SmallFile {
    dataset: &'static Dataset,
    name: String,
    format: Format,
    bytes: Bytes,
}

/// Send a small file
///
/// A file of up to 4 MiB in the request: as the field `file` of a form, or as the body with its `Content-Type` (NDJSON
/// is also known as `application/ndjson` and `application/jsonl`).
#[utoipa::path(
    post,
    path = "/api/v1/ingest/comprehensive",
    operation_id = "ingest_file",
    tag = "Small files",
    params(
        Parameters,
        (
            "Upload-Token" = Option<Uuid>,
            Header,
            nullable = false,
            description = "The session that the file is added to; else it has its own.",
        ),
        (
            "Content-Encoding" = Option<String>,
            Header,
            nullable = false,
            pattern = "^(identity|gzip|zstd)?$",
            description = "How the body is compressed: `gzip` or `zstd`.",
        ),
    ),
    request_body(content(
        (Form = "multipart/form-data"),
        (String = "application/x-ndjson", example = "{\"customer_id\": \"0b0e7f8e-3f0e-4a39-9d51-0d4b2c1f7a01\", \
            \"name\": \"Ada\", \"email\": \"ada@example.org\"}\n"),
        (String = "text/csv", example = "product_id,sku,name,price\n\
            9f3b1c52-8c0e-4d57-8f6c-0a4e5b7d1c11,CUP-1,A cup,12.50\n"),
    )),
    responses((
        status = 201,
        description = "The file is taken and waits.",
        body = Taken,
        links(
            ("status" = (operation_id = "session_status", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("rejects" = (operation_id = "list_rejects", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
        ),
        example = json!({
            "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "chunk_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
            "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
            "data_type": "orders",
            "rows_received": 1,
            "rows_inserted": 0,
            "rows_failed": 0,
            "status": "queued",
            "idempotency_key": "orders-2026-01-31",
        }),
    ))
)]
pub(crate) async fn comprehensive(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Problem> {
    take(&app, tenant, &claimed, None, parameters, request).await
}

/// Send a small file of orders
///
/// As `POST /api/v1/ingest/comprehensive`, and takes no other dataset.
#[utoipa::path(
    post,
    path = "/api/v1/ingest/orders",
    operation_id = "ingest_orders",
    tag = "Small files",
    params(
        Parameters,
        (
            "Upload-Token" = Option<Uuid>,
            Header,
            nullable = false,
            description = "The session that the file is added to; else it has its own.",
        ),
        (
            "Content-Encoding" = Option<String>,
            Header,
            nullable = false,
            pattern = "^(identity|gzip|zstd)?$",
            description = "How the body is compressed: `gzip` or `zstd`.",
        ),
    ),
    request_body(content(
        (Form = "multipart/form-data"),
        (String = "application/x-ndjson", example = "{\"order_id\": \"5d0f2a44-7f0b-4f4e-9a39-2d1c0e8b7a01\", \
            \"external_order_id\": \"A-1\", \"total_amount\": \"12.50\", \"order_date\": \"2026-01-02T03:04:05Z\"}\n"),
        (String = "text/csv", example = "order_id,external_order_id,total_amount,order_date\n\
            5d0f2a44-7f0b-4f4e-9a39-2d1c0e8b7a01,A-1,12.50,2026-01-02T03:04:05Z\n"),
    )),
    responses((
        status = 201,
        description = "The file is taken and waits.",
        body = Taken,
        links(
            ("status" = (operation_id = "session_status", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("rejects" = (operation_id = "list_rejects", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
        ),
        example = json!({
            "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "chunk_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
            "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
            "data_type": "orders",
            "rows_received": 1,
            "rows_inserted": 0,
            "rows_failed": 0,
            "status": "queued",
            "idempotency_key": "orders-2026-01-31",
        }),
    ))
)]
pub(crate) async fn orders(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Result<Response, Problem> {
    take(&app, tenant, &claimed, dataset::by_name("orders"), parameters, request).await
}

/// Takes a file, of the dataset `only` where the route takes no other.
async fn take(
    app: &App,
    tenant: Uuid,
    claimed: &Claimed,
    only: Option<&'static Dataset>,
    parameters: Parameters,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let idempotency_key = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).unwrap_or_default();
    let given = File::read(request, Accepts::Rows).await?;
    let file = check(given, parameters, only)?;
    let (format, bytes) = (file.format, file.bytes.clone());
    let counted = tokio::task::spawn_blocking(move || count_rows(format, &bytes)).await;
    let rows = counted.map_err(|error| Problem::internal(&error))??;
    let token = upload_token(&headers)?;
    let bytes = file.bytes.clone();
    let scope = app.database.begin(tenant).await?;
    if let Some(answer) = claimed.take(&scope).await? {
        let missing = missing(&scope, &answer).await?;
        scope.rollback().await?;
        if let Some(key) = missing {
            put(app, key, bytes, claimed).await?;
        }
        return Ok(replay(answer));
    }
    let data_type = file.dataset.name;
    let (key, upload_token) = match declare(&scope, token, file).await {
        Ok(declared) => declared,
        Err(problem) => {
            scope.rollback().await?;
            return Err(problem);
        }
    };
    let taken = Taken {
        upload_id: key.session_id,
        chunk_id: key.file_id,
        upload_token,
        data_type,
        rows_received: rows,
        rows_inserted: 0,
        rows_failed: 0,
        status: "queued",
        idempotency_key,
    };
    let response = claimed.keep(&scope, (StatusCode::CREATED, Json(taken))).await?;
    scope.commit().await?;
    fail_point!("ingest-api.before-put", tenant);
    put(app, key, bytes, claimed).await?;
    Ok(response)
}

/// What an answer says of its file.
#[derive(Deserialize)]
struct Declared {
    chunk_id: Uuid,
}

/// The file of an answer, if whoever gave it died before the file was in the bucket.
async fn missing(scope: &Scope<'_>, answer: &Answer) -> Result<Option<FileKey>, Problem> {
    let declared: Declared = serde_json::from_slice(&answer.body).map_err(|error| Problem::internal(&error))?;
    let file = ledger::file(scope, declared.chunk_id).await?;
    Ok(file.filter(|file| file.state == FileState::AwaitingUpload).map(|file| file.key))
}

fn invalid(pointer: &str, code: FieldCode, detail: impl Into<String>) -> Problem {
    Problem::invalid(vec![FieldError::new(format!("/{pointer}"), code, detail)])
}

/// The session that the file is added to, where one is named.
fn upload_token(headers: &HeaderMap) -> Result<Option<Uuid>, Problem> {
    let Some(token) = headers.get("upload-token") else { return Ok(None) };
    let token = token.to_str().ok().and_then(|token| Uuid::try_parse(token).ok());
    token.map(Some).ok_or_else(|| Problem::not_found("upload session"))
}

/// What the file is, by its name and by what is said of it.
fn check(given: File, parameters: Parameters, only: Option<&'static Dataset>) -> Result<SmallFile, Problem> {
    let File { name, layout, encoding, bytes } = given;
    if let Some(only) = only
        && parameters.dataset.as_deref().is_some_and(|dataset| dataset != only.name)
    {
        return Err(invalid("dataset", FieldCode::DatasetMismatch, format!("this path takes {} only", only.name)));
    }
    let dataset = only.map(|only| only.name).or(parameters.dataset.as_deref());
    let ending = layout.map(Layout::as_str);
    // browsers of old send the whole path
    let name = name.or(parameters.name).map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
    let name = match (name.filter(|name| !name.is_empty()), ending) {
        (Some(name), Some(ending)) if Format::of_name(&name).is_none() => format!("{name}.{ending}"),
        (Some(name), _) => name,
        (None, Some(ending)) => format!("{}.{ending}", dataset.unwrap_or_default()),
        (None, None) => {
            return Err(invalid("file", FieldCode::NoDataset, "the field has no file name, which says what it is"));
        }
    };
    check_name(&name).map_err(|detail| invalid("name", FieldCode::InvalidName, detail))?;
    let named = file_name::classify(&name, dataset).map_err(|error| {
        let (field, code) = name_error(&error);
        invalid(field, code, error.to_string())
    });
    let (dataset, mut format) = named?;
    if let (Some(only), Ok((said, _))) = (only, file_name::classify(&name, None))
        && said.name != only.name
    {
        let detail = format!("says {}, but this path takes {} only", said.name, only.name);
        return Err(invalid("name", FieldCode::DatasetMismatch, detail));
    }
    if layout.is_some_and(|layout| layout != format.layout) {
        return Err(invalid("name", FieldCode::FormatMismatch, "has another ending than Content-Type says"));
    }
    let found = Compression::of_bytes(&bytes);
    if encoding == Some(found) {
        format.compression = found;
    } else if found != format.compression {
        // what a gateway unpacked on the way is no longer encoded, and then it is what its name says
        let detail = "says another compression than the bytes have";
        return Err(invalid("name", FieldCode::FormatMismatch, detail));
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
            return Err(invalid("file", FieldCode::SuspiciousCompression, detail));
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
    invalid("file", FieldCode::CorruptCompression, format!("cannot be unpacked: {error}"))
}

/// Declares a file, in the session of `token` or in one of its own, and returns where it goes and the session's token.
async fn declare(scope: &Scope<'_>, token: Option<Uuid>, file: SmallFile) -> Result<(FileKey, Uuid), Problem> {
    let SmallFile { dataset, name, format, bytes } = file;
    let file_id = Uuid::now_v7();
    let new = |policy| NewFile {
        file_id,
        dataset,
        name,
        format,
        size_bytes: bytes.len() as i64,
        sha256: None,
        multipart_upload_id: None,
        policy,
    };
    let (session_id, upload_token) = match token {
        Some(token) => {
            let session = ledger::session_by_token(scope, token).await?;
            let session = session.ok_or_else(|| Problem::not_found("upload session"))?;
            check_open(&session)?;
            if ledger::count_files(scope, session.session_id).await? >= MAX_FILES as i64 {
                let detail = format!("a session has at most {MAX_FILES} files; go on with another one");
                return Err(Problem::new(Code::SessionFull, detail));
            }
            ledger::add_files(scope, session.session_id, &[new(session.policy)]).await?;
            (session.session_id, token)
        }
        None => {
            let policy = Policy { tolerance: Tolerance::Any, reject_missing_references: false };
            let (session_id, upload_token, trace) = (Uuid::now_v7(), Uuid::new_v4(), trace::current());
            let session = NewSession {
                session_id,
                upload_token,
                manifest: None,
                dry_run: false,
                callback_url: None,
                policy,
                trace,
            };
            ledger::create_session(scope, &session, &[new(policy)]).await?;
            (session_id, upload_token)
        }
    };
    Ok((FileKey { tenant_id: scope.tenant(), session_id, file_id }, upload_token))
}

/// Puts a declared file into the bucket. One that does not get there is given up, so that it holds up nobody behind it,
/// and the next request with its key sends it anew. What has arrived all the same is not given up: only the answer was lost.
///
/// Of two requests with one key, one may fail to put what the other puts. Whoever gives up holds the file and looks into the
/// bucket; whoever has put it asks for the file after that. So either the first finds the object, or the second finds the file
/// given up, and has failed, too.
async fn put(app: &App, key: FileKey, bytes: Bytes, claimed: &Claimed) -> Result<(), Problem> {
    let Err(error) = app.objects.create(&key.to_string(), bytes).await else {
        let look_up = || async {
            let scope = app.database.begin(key.tenant_id).await?;
            let is_given_up = ledger::is_given_up(&scope, key.file_id).await?;
            scope.commit().await?;
            Ok(is_given_up)
        };
        let detail = "another request with this Idempotency-Key could not store the file; send it once more";
        let given_up = || Problem::new(Code::Unavailable, detail).retry_after(1);
        return if retry("is_given_up", look_up).await? { Err(given_up()) } else { Ok(()) };
    };
    let detail = "the file could not be stored; whoever sent it was told so";
    let give_up = retry("give_up_awaited", || async {
        let scope = app.database.begin(key.tenant_id).await?;
        let is_given_up = ledger::give_up_awaited(&scope, key.file_id, detail).await?;
        if !is_given_up || is_there(app, key).await {
            scope.rollback().await?;
            return Ok(false);
        }
        claimed.release(&scope).await?;
        scope.commit().await?;
        Ok(true)
    });
    match give_up.await {
        // what goes wrong here is logged, and whoever sent the file is told of its own failure
        Ok(true) => drop(app.wake(key).await),
        Ok(false) => return Ok(()),
        Err(error) => drop(Problem::from(error)),
    }
    Err(error.into())
}

/// Whether the file is in the bucket; not, where the bucket does not answer, which is logged.
async fn is_there(app: &App, key: FileKey) -> bool {
    app.objects.head(&key.to_string()).await.map_err(Problem::from).is_ok_and(|head| head.is_some())
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
            let given = File { name: None, layout, encoding, bytes: Bytes::copy_from_slice(bytes) };
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
