//! `POST /api/v1/ingest/sessions`: declares files and gets presigned URLs to upload them to.

use crate::app::{App, CALLS_AT_ONCE};
use crate::upload::{Parts, Upload, presign_parts, presign_put};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt, stream};
use intake_domain::file_name::{self, NameError};
use intake_domain::format::MAX_UNPACKED_BYTES;
use intake_domain::object_key::FileKey;
use intake_domain::tolerance::{OnError, Tolerance};
use intake_domain::upload::{MAX_FILE_BYTES, MAX_FILES, MAX_HASHED_BYTES, MAX_SESSION_PARTS, UploadPlan};
use intake_domain::value::{self, Kind};
use intake_domain::webhook::check_url;
use intake_lambda::Problem;
use intake_lambda::idempotent::once;
use intake_lambda::problem::FieldError;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, NewFile, NewSession, Policy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;
use uuid::Uuid;

/// The longest name of a file, in characters.
const MAX_NAME: usize = 255;

/// The largest manifest, in bytes.
const MAX_MANIFEST_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow, default)]
    manifest: Option<&'a RawValue>,
    #[serde(default)]
    files: Vec<File>,
    #[serde(default)]
    dry_run: bool,
    callback_url: Option<String>,
    on_error: Option<String>,
    max_rejects: Option<Value>,
    on_missing_reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    dataset: Option<String>,
    size_bytes: u64,
    sha256: Option<String>,
    on_error: Option<String>,
    max_rejects: Option<Value>,
    on_missing_reference: Option<String>,
}

#[derive(Serialize)]
struct Created {
    upload_token: Uuid,
    upload_id: Uuid,
    status: &'static str,
    expires_at: String,
    files: Vec<CreatedFile>,
}

#[derive(Serialize)]
struct CreatedFile {
    file_id: Uuid,
    name: String,
    dataset: &'static str,
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

pub(crate) async fn handle(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    let tenant = match app.tenant(&headers).await {
        Ok(tenant) => tenant,
        Err(problem) => return problem.into_response(),
    };
    let work = create(&app, tenant, &body);
    once(&app.idempotency, tenant, "POST /api/v1/ingest/sessions", &headers, &body, work).await
}

async fn create(app: &App, tenant: Uuid, body: &[u8]) -> Result<(StatusCode, String), Problem> {
    let request: Request<'_> = serde_json::from_slice(body)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "INVALID_BODY", error.to_string()))?;
    let accepted = check(&request, app.part_bytes, &app.webhook_allowed_hosts).map_err(Problem::invalid)?;
    let session = NewSession {
        session_id: Uuid::now_v7(),
        upload_token: Uuid::new_v4(),
        manifest: request.manifest.map(RawValue::get),
        dry_run: request.dry_run,
        callback_url: accepted.callback_url.as_deref(),
        policy: accepted.policy,
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
    let scope = app.database.begin(tenant).await?;
    let expires_at = ledger::create_session(&scope, &session, &files).await?;
    scope.commit().await?;
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
            _ => presign_put(&app.objects, key(file), file.size_bytes).await?,
        };
        created.files.push(CreatedFile {
            file_id: file.file_id,
            name: file.name.clone(),
            dataset: file.dataset.name,
            size_bytes: file.size_bytes,
            upload,
        });
    }
    let body = serde_json::to_string(&created).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::CREATED, body))
}

/// The policy that follows from what is asked for, where `otherwise` holds for what is not. `at` is the pointer to it.
fn policy(wishes: &Wishes<'_>, otherwise: Policy, at: &str, errors: &mut Vec<FieldError>) -> Policy {
    let mut wrong = |field: &str, code, detail: &str| {
        errors.push(FieldError { pointer: format!("{at}/{field}"), code, detail: detail.to_owned() });
    };
    let on_error = wishes.on_error.as_deref().map(OnError::parse);
    if on_error == Some(None) {
        wrong("on_error", "INVALID_ON_ERROR", "must be reject_rows or reject_file");
    }
    let most = wishes.max_rejects.as_ref().map(|most| match most {
        Value::Number(count) => count.as_u64().filter(|count| i64::try_from(*count).is_ok()).map(Tolerance::Count),
        Value::String(text) => Tolerance::parse_percent(text),
        _ => None,
    });
    if most == Some(None) {
        let detail = "must be a whole number of at least 0, or a share like \"5%\" or \"0.25%\"";
        wrong("max_rejects", "INVALID_MAX_REJECTS", detail);
    }
    let tolerance = otherwise.tolerance.with(on_error.flatten(), most.flatten());
    if tolerance.is_none() {
        let detail = "contradicts on_error: reject_file takes no reject, reject_rows some";
        wrong("max_rejects", "CONTRADICTORY_POLICY", detail);
    }
    let reject_missing_references = match wishes.on_missing_reference.as_deref() {
        None => otherwise.reject_missing_references,
        Some("accept") => false,
        Some("reject") => true,
        Some(_) => {
            wrong("on_missing_reference", "INVALID_ON_MISSING_REFERENCE", "must be accept or reject");
            false
        }
    };
    Policy { tolerance: tolerance.unwrap_or(otherwise.tolerance), reject_missing_references }
}

/// The code and the field of what a file's name is refused for.
pub(super) fn name_error(error: &NameError) -> (&'static str, &'static str) {
    match error {
        NameError::NoDataset => ("name", "NO_DATASET"),
        NameError::UnknownDataset(_) => ("dataset", "UNKNOWN_DATASET"),
        NameError::UnsupportedFormat => ("name", "UNSUPPORTED_FORMAT"),
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
fn check(request: &Request<'_>, part_bytes: u64, allowed_hosts: &[String]) -> Result<Accepted, Vec<FieldError>> {
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
    if let Some(manifest) = request.manifest {
        let refusal = match value::read(Kind::Object, manifest.get()) {
            Err((_, detail)) => Some(detail),
            Ok(_) if manifest.get().len() > MAX_MANIFEST_BYTES => Some("must be at most 64 KiB".to_owned()),
            Ok(_) => None,
        };
        if let Some(detail) = refusal {
            wrong("/manifest", "INVALID_MANIFEST", detail);
        }
    }
    let callback_url = match request.callback_url.as_deref().map(|url| check_url(url, allowed_hosts)).transpose() {
        Ok(url) => url.map(String::from),
        Err(error) => {
            wrong("/callback_url", "INVALID_CALLBACK_URL", error.to_string());
            None
        }
    };
    if request.files.len() > MAX_FILES {
        wrong("/files", "TOO_MANY_FILES", format!("must be at most {MAX_FILES}"));
    }
    let mut files = Vec::new();
    for (at, file) in request.files.iter().enumerate() {
        files.extend(check_file(file, &format!("/files/{at}"), session_policy, part_bytes, &mut errors));
    }
    if files.iter().map(|file| file.plan.parts()).sum::<u64>() > MAX_SESSION_PARTS {
        let detail = "are too large together: spread them over several sessions".to_owned();
        errors.push(FieldError { pointer: "/files".to_owned(), code: "SESSION_TOO_LARGE", detail });
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
        wrong("name", "INVALID_NAME", detail);
    }
    let is_read_through = kind.as_ref().is_ok_and(|(_, format)| format.is_read_through());
    if file.size_bytes > MAX_FILE_BYTES {
        wrong("size_bytes", "FILE_TOO_LARGE", format!("must be at most {MAX_FILE_BYTES}"));
    } else if is_read_through && file.size_bytes > MAX_UNPACKED_BYTES {
        let detail = format!("must be at most {MAX_UNPACKED_BYTES} for CSV and compressed files");
        wrong("size_bytes", "FILE_TOO_LARGE", detail);
    }
    let sha256 = file.sha256.as_ref().map(|text| hex::decode(text).ok().filter(|bytes| bytes.len() == 32));
    if sha256.is_some() && file.size_bytes > MAX_HASHED_BYTES {
        let detail = format!("cannot be held against a file of over {MAX_HASHED_BYTES} bytes; leave it out");
        wrong("sha256", "TOO_LARGE_TO_HASH", detail);
    }
    if sha256 == Some(None) {
        wrong("sha256", "INVALID_SHA256", "must be 64 hexadecimal digits".to_owned());
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
