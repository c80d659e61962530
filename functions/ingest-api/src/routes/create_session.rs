//! `POST /api/v1/ingest/sessions`: declares files and gets presigned URLs to upload them to.

use crate::app::App;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use intake_aws::{Objects, URL_LIFETIME};
use intake_domain::file_name::{self, NameError};
use intake_domain::object_key::FileKey;
use intake_domain::upload::{MAX_FILE_BYTES, MAX_FILES, MAX_HASHED_BYTES, MAX_SESSION_PARTS, UploadPlan, part_size};
use intake_domain::value::{self, Kind};
use intake_lambda::Problem;
use intake_lambda::idempotent::once;
use intake_lambda::problem::FieldError;
use intake_lambda::time::rfc3339;
use intake_postgres::ledger::{self, NewFile, NewSession};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    dataset: Option<String>,
    size_bytes: u64,
    sha256: Option<String>,
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

/// How to upload a file.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Upload {
    /// PUT the file to the URL with exactly these headers.
    Put { url: String, headers: BTreeMap<String, String>, expires_at: String },
    /// PUT each part to its URL, then POST to the path.
    Multipart { part_size_bytes: u64, parts: Vec<UploadPart>, complete_path: String, expires_at: String },
}

#[derive(Serialize)]
struct UploadPart {
    part_number: u64,
    size_bytes: u64,
    url: String,
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
    let mut declared = check(&request, app.part_bytes).map_err(Problem::invalid)?;
    let session = NewSession {
        session_id: Uuid::now_v7(),
        upload_token: Uuid::new_v4(),
        manifest: request.manifest.map(RawValue::get),
        dry_run: request.dry_run,
    };
    let key = |file: &NewFile| {
        FileKey { tenant_id: tenant, session_id: session.session_id, file_id: file.file_id }.to_string()
    };
    for Declared { file, plan } in &mut declared {
        if matches!(plan, UploadPlan::Parts { .. }) {
            file.multipart_upload_id = Some(app.objects.begin_multipart(&key(file)).await?);
        }
    }
    let (files, plans): (Vec<_>, Vec<_>) = declared.into_iter().map(|Declared { file, plan }| (file, plan)).unzip();
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
        let complete_path = format!("/api/v1/ingest/sessions/{}/files/{}/complete", session.upload_token, file.file_id);
        created.files.push(CreatedFile {
            file_id: file.file_id,
            name: file.name.clone(),
            dataset: file.dataset.name,
            size_bytes: file.size_bytes,
            upload: presign(&app.objects, &key(file), file, plan, complete_path).await?,
        });
    }
    let body = serde_json::to_string(&created).map_err(|error| Problem::internal(&error))?;
    Ok((StatusCode::CREATED, body))
}

async fn presign(
    objects: &Objects,
    key: &str,
    file: &NewFile,
    plan: UploadPlan,
    complete_path: String,
) -> Result<Upload, Problem> {
    let expires_at = rfc3339(SystemTime::now() + URL_LIFETIME);
    let (UploadPlan::Parts { part_bytes, count }, Some(upload_id)) = (plan, &file.multipart_upload_id) else {
        let put = objects.presign_put(key, file.size_bytes).await?;
        return Ok(Upload::Put { url: put.url, headers: put.headers, expires_at });
    };
    let mut parts = Vec::new();
    for number in 1..=count {
        let size_bytes = part_size(file.size_bytes as u64, part_bytes, number);
        let part = objects.presign_part(key, upload_id, number as i32, size_bytes as i64).await?;
        parts.push(UploadPart { part_number: number, size_bytes, url: part.url });
    }
    Ok(Upload::Multipart { part_size_bytes: part_bytes, parts, complete_path, expires_at })
}

/// Everything that is wrong with a request, or its files.
fn check(request: &Request<'_>, part_bytes: u64) -> Result<Vec<Declared>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, code, detail: String| errors.push(FieldError { pointer, code, detail });
    if let Some(manifest) = request.manifest {
        let refusal = match value::read(Kind::Object, manifest.get()) {
            Err((_, detail)) => Some(detail),
            Ok(_) if manifest.get().len() > MAX_MANIFEST_BYTES => Some("must be at most 64 KiB".to_owned()),
            Ok(_) => None,
        };
        if let Some(detail) = refusal {
            wrong("/manifest".to_owned(), "INVALID_MANIFEST", detail);
        }
    }
    if request.files.len() > MAX_FILES {
        wrong("/files".to_owned(), "TOO_MANY_FILES", format!("must be at most {MAX_FILES}"));
    }
    let mut declared = Vec::new();
    for (at, file) in request.files.iter().enumerate() {
        let pointer = |field: &str| format!("/files/{at}/{field}");
        let dataset = match file_name::classify(&file.name, file.dataset.as_deref()) {
            Ok(dataset) => Some(dataset),
            Err(error) => {
                let (field, code) = match &error {
                    NameError::NoDataset => ("name", "NO_DATASET"),
                    NameError::UnknownDataset(_) => ("dataset", "UNKNOWN_DATASET"),
                    NameError::UnsupportedFormat => ("name", "UNSUPPORTED_FORMAT"),
                };
                wrong(pointer(field), code, error.to_string());
                None
            }
        };
        if file.name.chars().count() > MAX_NAME || file.name.contains('\0') {
            wrong(
                pointer("name"),
                "INVALID_NAME",
                format!("must be at most {MAX_NAME} characters, none of them U+0000"),
            );
        }
        if file.size_bytes > MAX_FILE_BYTES {
            wrong(pointer("size_bytes"), "FILE_TOO_LARGE", format!("must be at most {MAX_FILE_BYTES}"));
        }
        let sha256 = file.sha256.as_ref().map(|text| hex::decode(text).ok().filter(|bytes| bytes.len() == 32));
        if sha256.is_some() && file.size_bytes > MAX_HASHED_BYTES {
            let detail = format!("cannot be held against a file of over {MAX_HASHED_BYTES} bytes; leave it out");
            wrong(pointer("sha256"), "TOO_LARGE_TO_HASH", detail);
        }
        if sha256 == Some(None) {
            wrong(pointer("sha256"), "INVALID_SHA256", "must be 64 hexadecimal digits".to_owned());
        }
        if let Some(dataset) = dataset {
            let file = NewFile {
                file_id: Uuid::now_v7(),
                dataset,
                name: file.name.clone(),
                size_bytes: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
                sha256: sha256.flatten(),
                multipart_upload_id: None,
            };
            let plan = UploadPlan::new(file.size_bytes as u64, part_bytes);
            declared.push(Declared { file, plan });
        }
    }
    if declared.iter().map(|file| file.plan.parts()).sum::<u64>() > MAX_SESSION_PARTS {
        let detail = "are too large together: spread them over several sessions".to_owned();
        wrong("/files".to_owned(), "SESSION_TOO_LARGE", detail);
    }
    if errors.is_empty() { Ok(declared) } else { Err(errors) }
}
