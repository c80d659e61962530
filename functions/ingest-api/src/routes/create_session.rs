//! `POST /api/v1/ingest/sessions`: declares files and gets presigned URLs to upload them to.

use crate::app::{App, CALLS_AT_ONCE};
use crate::upload::{Parts, Upload, presign_parts, presign_put};
use crate::words;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt, stream};
use intake_domain::file_name::{self, NameError};
use intake_domain::format::MAX_UNPACKED_BYTES;
use intake_domain::object_key::FileKey;
use intake_domain::tolerance::{OnError, Tolerance};
use intake_domain::upload::{MAX_FILE_BYTES, MAX_FILES, MAX_HASHED_BYTES, MAX_SESSION_PARTS, UploadPlan};
use intake_domain::value::{self, Kind};
use intake_domain::webhook::check_url;
use intake_lambda::Problem;
use intake_lambda::edge::idempotency::replay;
use intake_lambda::edge::{Claimed, Json, Object, Tenant};
use intake_lambda::fail_point;
use intake_lambda::problem::{FieldCode, FieldError};
use intake_lambda::time::rfc3339;
use intake_lambda::trace;
use intake_postgres::ledger::{self, NewFile, NewSession, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use utoipa::ToSchema;
use uuid::Uuid;

/// The longest name of a file, in characters.
const MAX_NAME: usize = 255;

/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: usize = 64 << 10;

/// What is going to be uploaded.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewSession)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Anything that you want to be kept with the session; at most 64 KiB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    manifest: Option<Box<RawValue>>,
    /// The files. Without any, they are sent one by one with `Upload-Token`.
    #[serde(default)]
    #[schema(value_type = Vec<File>, max_items = 500)]
    files: Vec<Object<File>>,
    /// Do everything but the promotion.
    #[serde(default)]
    dry_run: bool,
    /// An `https` URL that is called, signed, once the session has ended.
    #[schema(format = "uri", max_length = 2048, pattern = "^https://")]
    callback_url: Option<String>,
    #[schema(value_type = Option<words::OnError>)]
    on_error: Option<String>,
    /// With more rejects than that, nothing of a file goes in.
    #[schema(value_type = Option<words::MaxRejects>)]
    max_rejects: Option<Value>,
    #[schema(value_type = Option<words::OnMissingReference>)]
    on_missing_reference: Option<String>,
}

/// A file that is going to be uploaded. What it says of rejects and references goes before what its session says.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewFile)]
#[serde(deny_unknown_fields)]
struct File {
    /// Its ending says the format. What stands before the first `_` says the dataset, where `dataset` does not.
    #[schema(
        max_length = 255,
        pattern = r"^[^\u0000]*\.(ndjson|jsonl|csv)(\.gz|\.zst)?$",
        example = "orders_1.ndjson.gz"
    )]
    name: String,
    #[schema(value_type = Option<words::Dataset>)]
    dataset: Option<String>,
    #[schema(schema_with = words::file_size)]
    size_bytes: u64,
    /// Of the file as it is uploaded, which is held against it.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    sha256: Option<String>,
    #[schema(value_type = Option<words::OnError>)]
    on_error: Option<String>,
    #[schema(value_type = Option<words::MaxRejects>)]
    max_rejects: Option<Value>,
    #[schema(value_type = Option<words::OnMissingReference>)]
    on_missing_reference: Option<String>,
}

/// A session, and where its files go.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionCreated)]
struct Created {
    /// Opens the session: keep it.
    upload_token: Uuid,
    upload_id: Uuid,
    #[schema(pattern = "^created$")]
    status: &'static str,
    /// When files must have arrived.
    #[schema(format = DateTime)]
    expires_at: String,
    /// In the order of the request.
    files: Vec<CreatedFile>,
}

/// A file, and where it goes.
#[derive(Serialize, ToSchema)]
struct CreatedFile {
    file_id: Uuid,
    name: String,
    #[schema(value_type = words::Dataset)]
    dataset: &'static str,
    #[schema(minimum = 0)]
    size_bytes: i64,
    upload: Upload,
}

/// What a request asks for, or one of its files.
struct Wishes<'a> {
    on_error: &'a Option<String>,
    max_rejects: &'a Option<Value>,
    on_missing_reference: &'a Option<String>,
}

/// What a request comes to.
struct Accepted {
    policy: Policy,
    callback_url: Option<String>,
    files: Vec<Declared>,
}

/// A file that may be declared.
struct Declared {
    file: NewFile,
    plan: UploadPlan,
}

/// Open a session and declare its files
///
/// The answer has a presigned URL for each file, or for each part of a large one. Files go straight there, without the
/// API key; what happens then is told by the session's status.
#[utoipa::path(
    post,
    path = "/api/v1/ingest/sessions",
    operation_id = "create_session",
    tag = "Uploads",
    request_body(content = Request, examples(
        ("files" = (summary = "Two files", value = json!({
            "files": [
                {"name": "products_1.ndjson", "size_bytes": 512},
                {"name": "orders_1.csv.gz", "size_bytes": 6_291_456, "on_error": "reject_file"},
            ],
            "on_missing_reference": "reject",
        }))),
        ("dry_run" = (summary = "Only look what would happen", value = json!({
            "files": [{"name": "customers.ndjson", "size_bytes": 1_024, "max_rejects": "0.5%"}],
            "dry_run": true,
        }))),
        ("manifest" = (summary = "Files follow one by one", value = json!({"manifest": {"source": "erp", "run": 7}}))),
    )),
    responses((
        status = 201,
        description = "The session is open.",
        body = Created,
        links(
            ("status" = (operation_id = "session_status", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("rejects" = (operation_id = "list_rejects", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("resume" = (operation_id = "resume_session", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("cancel" = (operation_id = "cancel_session", parameters(("upload_token" = words::TOKEN_OF_ANSWER)))),
            ("complete" = (operation_id = "complete_file", parameters(
                ("upload_token" = words::TOKEN_OF_ANSWER),
                ("file_id" = "$response.body#/files/0/file_id"),
            ))),
        ),
        example = json!({
            "upload_token": "5e2b8f6c-1d7a-4c93-b0e5-8a4f9d1c2b37",
            "upload_id": "01980f1e-5d6c-7b3a-9d51-0d4b2c1f7a01",
            "status": "created",
            "expires_at": "2026-02-07T03:04:05.678Z",
            "files": [{
                "file_id": "01980f1e-5d6d-7c04-8a12-6f0e9b2d3c44",
                "name": "products_1.ndjson",
                "dataset": "products",
                "size_bytes": 512,
                "upload": {
                    "kind": "put",
                    "url": "https://uploads.example.org/tenants/…?X-Amz-Signature=…",
                    "headers": {"content-length": "512"},
                    "expires_at": "2026-01-31T04:04:05.678Z",
                },
            }],
        }),
    ))
)]
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    Tenant(tenant): Tenant,
    claimed: Claimed,
    Json(request): Json<Request>,
) -> Result<Response, Problem> {
    let accepted = check(&request, app.part_bytes, &app.webhook_allowed_hosts).map_err(Problem::invalid)?;
    let session = NewSession {
        session_id: Uuid::now_v7(),
        upload_token: Uuid::new_v4(),
        manifest: request.manifest.as_deref().map(RawValue::get),
        dry_run: request.dry_run,
        callback_url: accepted.callback_url.as_deref(),
        policy: accepted.policy,
        trace: trace::current(),
    };
    let key = |file: &NewFile| FileKey { tenant_id: tenant, session_id: session.session_id, file_id: file.file_id };
    let begin = stream::iter(accepted.files).map(async |Declared { mut file, plan }| {
        if matches!(plan, UploadPlan::Parts { .. }) {
            file.multipart_upload_id = Some(app.objects.begin_multipart(&key(&file).to_string()).await?);
        }
        Ok::<_, Problem>((file, plan))
    });
    let (files, plans): (Vec<_>, Vec<_>) =
        begin.buffered(CALLS_AT_ONCE).try_collect::<Vec<_>>().await?.into_iter().unzip();
    // no transaction waits for the bucket; an upload that was begun in vain holds nothing, and the bucket forgets it
    let scope = app.database.begin(tenant).await?;
    if let Some(answer) = claimed.take(&scope).await? {
        scope.rollback().await?;
        return Ok(replay(answer));
    }
    let expires_at = ledger::create_session(&scope, &session, &files).await?;
    let mut created = Created {
        upload_token: session.upload_token,
        upload_id: session.session_id,
        status: "created",
        expires_at: rfc3339(expires_at),
        files: Vec::with_capacity(files.len()),
    };
    for (file, plan) in files.iter().zip(plans) {
        let upload = match (plan, &file.multipart_upload_id) {
            (UploadPlan::Parts { part_bytes, count }, Some(upload_id)) => {
                let parts = Parts {
                    key: key(file),
                    upload_token: session.upload_token,
                    upload_id,
                    size_bytes: file.size_bytes as u64,
                    part_bytes,
                    count,
                };
                presign_parts(&app.objects, &parts, None).await?
            }
            _ => presign_put(&app.objects, key(file), file.size_bytes, file.sha256.as_deref()).await?,
        };
        created.files.push(CreatedFile {
            file_id: file.file_id,
            name: file.name.clone(),
            dataset: file.dataset.name,
            size_bytes: file.size_bytes,
            upload,
        });
    }
    let response = claimed.keep(&scope, (StatusCode::CREATED, axum::Json(created))).await?;
    fail_point!("ingest-api.before-commit", tenant);
    scope.commit().await?;
    Ok(response)
}

/// The policy that follows from what is asked for, where `otherwise` holds for what is not. `at` is the pointer to it.
fn policy(wishes: &Wishes<'_>, otherwise: Policy, at: &str, errors: &mut Vec<FieldError>) -> Policy {
    let mut wrong = |field: &str, code, detail: &str| {
        errors.push(FieldError { pointer: format!("{at}/{field}"), code, detail: detail.to_owned() });
    };
    let on_error = wishes.on_error.as_deref().map(OnError::parse);
    if on_error == Some(None) {
        wrong("on_error", FieldCode::InvalidOnError, "must be reject_rows or reject_file");
    }
    let most = wishes.max_rejects.as_ref().map(|most| match most {
        Value::Number(count) => count.as_u64().filter(|count| i64::try_from(*count).is_ok()).map(Tolerance::Count),
        Value::String(text) => Tolerance::parse_percent(text),
        _ => None,
    });
    if most == Some(None) {
        let detail = "must be a whole number of at least 0, or a share like \"5%\" or \"0.25%\"";
        wrong("max_rejects", FieldCode::InvalidMaxRejects, detail);
    }
    let tolerance = otherwise.tolerance.with(on_error.flatten(), most.flatten());
    if tolerance.is_none() {
        let detail = "contradicts on_error: reject_file takes no reject, reject_rows some";
        wrong("max_rejects", FieldCode::ContradictoryPolicy, detail);
    }
    let reject_missing_references = match wishes.on_missing_reference.as_deref() {
        None => otherwise.reject_missing_references,
        Some("accept") => false,
        Some("reject") => true,
        Some(_) => {
            wrong("on_missing_reference", FieldCode::InvalidOnMissingReference, "must be accept or reject");
            false
        }
    };
    Policy { tolerance: tolerance.unwrap_or(otherwise.tolerance), reject_missing_references }
}

/// The code and the field of what a file's name is refused for.
pub(super) fn name_error(error: &NameError) -> (&'static str, FieldCode) {
    match error {
        NameError::NoDataset => ("name", FieldCode::NoDataset),
        NameError::UnknownDataset(_) => ("dataset", FieldCode::UnknownDataset),
        NameError::UnsupportedFormat => ("name", FieldCode::UnsupportedFormat),
    }
}

/// What is wrong with a name that is to be kept.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.chars().count() > MAX_NAME || name.contains('\0') {
        return Err(format!("must be at most {MAX_NAME} characters, none of them U+0000"));
    }
    Ok(())
}

/// Everything that is wrong with a request, or what it comes to.
fn check(request: &Request, part_bytes: u64, allowed_hosts: &[String]) -> Result<Accepted, Vec<FieldError>> {
    let mut errors = Vec::new();
    let wishes = Wishes {
        on_error: &request.on_error,
        max_rejects: &request.max_rejects,
        on_missing_reference: &request.on_missing_reference,
    };
    let default = Policy { tolerance: Tolerance::Any, reject_missing_references: false };
    let session_policy = policy(&wishes, default, "", &mut errors);
    let mut wrong = |pointer: &str, code, detail: String| {
        errors.push(FieldError { pointer: pointer.to_owned(), code, detail });
    };
    if let Some(manifest) = &request.manifest {
        let refusal = match value::read(Kind::Object, manifest.get()) {
            Err((_, detail)) => Some(detail),
            Ok(_) if manifest.get().len() > MAX_MANIFEST_BYTES => Some("must be at most 64 KiB".to_owned()),
            Ok(_) => None,
        };
        if let Some(detail) = refusal {
            wrong("/manifest", FieldCode::InvalidManifest, detail);
        }
    }
    let callback_url = match request.callback_url.as_deref().map(|url| check_url(url, allowed_hosts)).transpose() {
        Ok(url) => url.map(String::from),
        Err(error) => {
            wrong("/callback_url", FieldCode::InvalidCallbackUrl, error.to_string());
            None
        }
    };
    if request.files.len() > MAX_FILES {
        wrong("/files", FieldCode::TooManyFiles, format!("must be at most {MAX_FILES}"));
    }
    let mut files = Vec::new();
    for (at, Object(file)) in request.files.iter().enumerate() {
        files.extend(check_file(file, &format!("/files/{at}"), session_policy, part_bytes, &mut errors));
    }
    if files.iter().map(|file| file.plan.parts()).sum::<u64>() > MAX_SESSION_PARTS {
        let detail = "are too large together: spread them over several sessions".to_owned();
        errors.push(FieldError { pointer: "/files".to_owned(), code: FieldCode::SessionTooLarge, detail });
    }
    if errors.is_empty() { Ok(Accepted { policy: session_policy, callback_url, files }) } else { Err(errors) }
}

/// Everything that is wrong with a file, or how it is declared.
fn check_file(
    file: &File,
    at: &str,
    session_policy: Policy,
    part_bytes: u64,
    errors: &mut Vec<FieldError>,
) -> Option<Declared> {
    let wishes = Wishes {
        on_error: &file.on_error,
        max_rejects: &file.max_rejects,
        on_missing_reference: &file.on_missing_reference,
    };
    let policy = policy(&wishes, session_policy, at, errors);
    let mut wrong = |field: &str, code, detail: String| {
        errors.push(FieldError { pointer: format!("{at}/{field}"), code, detail });
    };
    let kind = file_name::classify(&file.name, file.dataset.as_deref());
    if let Err(error) = &kind {
        let (field, code) = name_error(error);
        wrong(field, code, error.to_string());
    }
    if let Err(detail) = check_name(&file.name) {
        wrong("name", FieldCode::InvalidName, detail);
    }
    let is_read_through = kind.as_ref().is_ok_and(|(_, format)| format.is_read_through());
    if file.size_bytes > MAX_FILE_BYTES {
        wrong("size_bytes", FieldCode::FileTooLarge, format!("must be at most {MAX_FILE_BYTES}"));
    } else if is_read_through && file.size_bytes > MAX_UNPACKED_BYTES {
        let detail = format!("must be at most {MAX_UNPACKED_BYTES} for CSV and compressed files");
        wrong("size_bytes", FieldCode::FileTooLarge, detail);
    }
    let sha256 = file.sha256.as_ref().map(|text| hex::decode(text).ok().filter(|bytes| bytes.len() == 32));
    if sha256.is_some() && file.size_bytes > MAX_HASHED_BYTES {
        let detail = format!("cannot be held against a file of over {MAX_HASHED_BYTES} bytes; leave it out");
        wrong("sha256", FieldCode::TooLargeToHash, detail);
    }
    if sha256 == Some(None) {
        wrong("sha256", FieldCode::InvalidSha256, "must be 64 hexadecimal digits".to_owned());
    }
    let (dataset, format) = kind.ok()?;
    let new = NewFile {
        file_id: Uuid::now_v7(),
        dataset,
        name: file.name.clone(),
        format,
        size_bytes: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
        sha256: sha256.flatten(),
        multipart_upload_id: None,
        policy,
    };
    Some(Declared { file: new, plan: UploadPlan::new(file.size_bytes, part_bytes) })
}
