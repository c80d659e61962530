//! Exports: files that a tenant's rows are written into. One file for each route; here is what they have in common.

pub(super) mod cancel;
pub(super) mod create;
pub(super) mod download;
pub(super) mod list;
pub(super) mod status;

use crate::app::App;
use intake_domain::export::{Failure, Format, SOURCES, Source, State};
use intake_domain::format::Compression;
use intake_lambda::Problem;
use intake_lambda::time::rfc3339;
use intake_postgres::exports::{self, Export, PartRecord};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// What the tenant's id is, in parameters of paths.
const TENANT: &str = "The tenant whose key is sent.";

/// What an export's id is.
const EXPORT: &str = "The export.";

/// When to look again at an export that has not ended, in seconds.
const RETRY_AFTER: u32 = 1;

/// A path that names an export. The tenant is known by its key.
#[derive(Deserialize)]
pub(crate) struct OfExport {
    export_id: Uuid,
}

/// Words, each list of which is a schema of its own.
macro_rules! words {
    ($($name:ident $shown:literal = $description:literal: $words:expr;)*) => {$(
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                words.description(Some($description)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                $shown.into()
            }
        }
    )*};
}

words! {
    FormatWord "ExportFormat" = "How rows are written: CSV (RFC 4180) with a header, one JSON object a line, or Apache \
        Parquet.":
        Format::ALL.iter().map(|format| format.as_str());
    CompressionWord "ExportCompression" = "How the file is compressed. Parquet is inside, and takes none.":
        [Compression::None, Compression::Gzip, Compression::Zstd].iter().map(|compression| compression.as_str());
    DatasetWord "ExportDataset" = "Which rows.":
        SOURCES.iter().map(|source| source.name);
    StateWord "ExportStatus" = "Where it stands: nobody works on it yet; it is written; its file is there; it ended without a \
        file, by a failure or because somebody asked; its file was there for its time.":
        State::ALL.iter().map(|state| state.as_str());
    FailureWord "ExportErrorCode" = "Why there is no file.":
        Failure::ALL.iter().map(|(failure, _)| failure.as_str());
}

/// Where an export stands.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportSummary)]
pub(crate) struct Summary {
    export_id: Uuid,
    #[schema(value_type = StateWord)]
    status: &'static str,
    #[schema(value_type = FormatWord)]
    format: &'static str,
    #[schema(value_type = CompressionWord)]
    compression: &'static str,
    #[schema(value_type = DatasetWord)]
    dataset: &'static str,
    /// How many rows are written.
    #[schema(minimum = 0)]
    rows_done: i64,
    /// About how many rows there will be; null until that is known.
    #[schema(required, minimum = 0)]
    rows_estimated: Option<i64>,
    /// How many bytes are written.
    #[schema(minimum = 0)]
    bytes_done: i64,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(required, format = DateTime)]
    started_at: Option<String>,
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
    /// Until when there is a file.
    #[schema(format = DateTime)]
    expires_at: String,
    /// What the file is; null until it is there.
    #[schema(required, value_type = Option<Manifest>)]
    manifest: Option<Box<RawValue>>,
    /// Why there is no file, of one that failed.
    #[schema(required)]
    error: Option<Error>,
}

/// What a file is.
#[derive(ToSchema)]
#[schema(as = ExportManifest)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct Manifest {
    file_name: String,
    content_type: String,
    #[schema(value_type = FormatWord)]
    format: String,
    #[schema(value_type = CompressionWord)]
    compression: String,
    #[schema(value_type = DatasetWord)]
    dataset: String,
    #[schema(minimum = 0)]
    rows: i64,
    #[schema(minimum = 0)]
    bytes: i64,
    /// Of the file as it is downloaded.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// By which columns the rows are ordered.
    order: Vec<String>,
    /// Whether an apostrophe stands before texts that a spreadsheet would run as a formula.
    spreadsheet_safe: bool,
    schema: Vec<ManifestColumn>,
}

/// A column of a file.
#[derive(ToSchema)]
#[schema(as = ExportColumn)]
#[expect(dead_code, reason = "for the OpenAPI document alone")]
struct ManifestColumn {
    name: String,
    #[schema(example = "decimal(12,2)")]
    r#type: String,
    nullable: bool,
}

/// Why there is no file.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportError)]
struct Error {
    #[schema(value_type = FailureWord)]
    code: String,
    /// One sentence for people.
    detail: String,
}

/// A part of the file as it lies in storage.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportChunk)]
pub(crate) struct Chunk {
    #[schema(minimum = 0)]
    chunk_index: i32,
    /// `completed`: a part is told when it is there.
    status: &'static str,
    #[schema(minimum = 0)]
    bytes: i64,
}

impl From<Export> for Summary {
    fn from(export: Export) -> Self {
        let manifest = export.manifest.filter(|_| matches!(export.state, State::Completed | State::Expired));
        Self {
            export_id: export.order.export_id,
            status: export.state.as_str(),
            format: export.order.format.as_str(),
            compression: export.order.compression.as_str(),
            dataset: export.order.source.name,
            rows_done: export.rows_done,
            rows_estimated: export.rows_estimated,
            bytes_done: export.bytes_done,
            created_at: rfc3339(export.created_at),
            started_at: export.started_at.map(rfc3339),
            finished_at: export.finished_at.map(rfc3339),
            expires_at: rfc3339(export.expires_at),
            // it was written as JSON
            manifest: manifest.and_then(|manifest| RawValue::from_string(manifest).ok()),
            error: export.error.map(|(code, detail)| Error { code, detail }),
        }
    }
}

impl From<PartRecord> for Chunk {
    fn from(part: PartRecord) -> Self {
        Self { chunk_index: part.number - 1, status: State::Completed.as_str(), bytes: part.size_bytes }
    }
}

/// The tenant's export of that id.
async fn find(app: &App, tenant: Uuid, export: Uuid) -> Result<Export, Problem> {
    let scope = app.database.begin(tenant).await?;
    let found = exports::find(&scope, export).await?;
    scope.commit().await?;
    found.ok_or_else(|| Problem::not_found("export"))
}

/// The names of a source's columns, for people.
fn column_names(source: &Source) -> String {
    source.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}
