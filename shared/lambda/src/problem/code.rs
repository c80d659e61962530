//! Every code of a problem, in one place. Codes are never renamed or used again for something else.

use axum::http::StatusCode;
use intake_domain::reject;
use serde::Serialize;
use std::borrow::Cow;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

macro_rules! codes {
    ($($variant:ident = $status:ident $code:literal: $meaning:literal;)*) => {
        /// What a request was refused for, or why it failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum Code {
            $(#[doc = $meaning] #[serde(rename = $code)] $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The code as clients see it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// The status that it comes with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$variant => StatusCode::$status,)*
                }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => $meaning,)*
                }
            }
        }
    };
}

codes! {
    InvalidBody = BAD_REQUEST "INVALID_BODY": "The body is not what the route takes: not JSON, or JSON of another shape.";
    EmptyBody = BAD_REQUEST "EMPTY_BODY": "The body has no line.";
    InvalidMultipart = BAD_REQUEST "INVALID_MULTIPART": "The form cannot be read.";
    InvalidQuery = BAD_REQUEST "INVALID_QUERY": "A parameter of the query is unknown or has a value that it cannot have.";
    InvalidHeader = BAD_REQUEST "INVALID_HEADER": "A header has a value that it cannot have.";
    InvalidIdempotencyKey = BAD_REQUEST "INVALID_IDEMPOTENCY_KEY": "Idempotency-Key is not 1 to 255 visible ASCII characters.";
    IdempotencyKeyRequired = BAD_REQUEST "IDEMPOTENCY_KEY_REQUIRED": "The route needs an Idempotency-Key.";
    Unauthorized = UNAUTHORIZED "UNAUTHORIZED": "There is no API key, or none that is valid.";
    NotFound = NOT_FOUND "NOT_FOUND": "There is no such thing, or it is another tenant's.";
    MethodNotAllowed = METHOD_NOT_ALLOWED "METHOD_NOT_ALLOWED": "The path does not take this method.";
    AlreadyDecided = CONFLICT "ALREADY_DECIDED": "It was decided otherwise before, or another took its place.";
    AlreadyEnded = CONFLICT "ALREADY_ENDED": "The session has ended.";
    ExportEnded = CONFLICT "EXPORT_ENDED": "The export has ended otherwise.";
    ExportFailed = CONFLICT "EXPORT_FAILED": "The export failed, so that there is no file.";
    ExportNotReady = CONFLICT "EXPORT_NOT_READY": "The file of the export is not written yet.";
    IdempotencyKeyInUse = CONFLICT "IDEMPOTENCY_KEY_IN_USE": "A request with this Idempotency-Key is running.";
    NotMultipart = CONFLICT "NOT_MULTIPART": "The file is uploaded with one PUT; there is nothing to complete.";
    PartsMissing = CONFLICT "PARTS_MISSING": "Not all parts of the file have arrived.";
    SessionFull = CONFLICT "SESSION_FULL": "The session has as many files as it may have.";
    Cancelled = GONE "CANCELLED": "The session was cancelled.";
    Expired = GONE "EXPIRED": "The session has expired.";
    ExportCancelled = GONE "EXPORT_CANCELLED": "The export was cancelled, so that there is no file.";
    ExportExpired = GONE "EXPORT_EXPIRED": "The file of the export is there no longer.";
    UploadAborted = GONE "UPLOAD_ABORTED": "The multipart upload was aborted.";
    PayloadTooLarge = PAYLOAD_TOO_LARGE "PAYLOAD_TOO_LARGE": "The body is larger than the route takes.";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_MEDIA_TYPE": "The route does not take this Content-Type.";
    UnsupportedEncoding = UNSUPPORTED_MEDIA_TYPE "UNSUPPORTED_ENCODING": "The route does not take this Content-Encoding.";
    InvalidRequest = UNPROCESSABLE_ENTITY "INVALID_REQUEST": "The request can be read, but fields of it are wrong; `errors` says which.";
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "IDEMPOTENCY_KEY_REUSED": "The Idempotency-Key was used for another request.";
    TooManyFollowers = TOO_MANY_REQUESTS "TOO_MANY_FOLLOWERS": "As many answers are followed as a tenant may follow at a time.";
    RateLimited = TOO_MANY_REQUESTS "RATE_LIMITED": "There were more requests than the limit allows; Retry-After says when to go on.";
    Internal = INTERNAL_SERVER_ERROR "INTERNAL": "The request failed by our mistake; its id helps to find out why.";
    QueryTimeout = SERVICE_UNAVAILABLE "QUERY_TIMEOUT": "The query took longer than it may.";
    Unavailable = SERVICE_UNAVAILABLE "UNAVAILABLE": "A store that the request needs does not answer; Retry-After says when to try again.";
}

macro_rules! field_codes {
    ($($variant:ident = $code:literal: $meaning:literal;)*) => {
        /// What is wrong with one field of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum FieldCode {
            $(#[doc = $meaning] #[serde(rename = $code)] $variant,)*
            /// What a row with such a field would be refused for.
            #[serde(untagged)]
            OfRow(reject::Code),
        }

        impl FieldCode {
            /// Every code of its own, as clients see it, with its meaning.
            const OWN: &[(&'static str, &'static str)] = &[$(($code, $meaning),)*];
        }
    };
}

field_codes! {
    UnknownField = "UNKNOWN_FIELD": "The route does not know the field.";
    MissingField = "MISSING_FIELD": "The field is required.";
    InvalidValue = "INVALID_VALUE": "The field has another type, or a value that it cannot have.";
    InvalidCallbackUrl = "INVALID_CALLBACK_URL": "Not a URL that may be called.";
    ContradictoryPolicy = "CONTRADICTORY_POLICY": "max_rejects and on_error contradict each other.";
    CorruptCompression = "CORRUPT_COMPRESSION": "The file cannot be unpacked.";
    DatasetMismatch = "DATASET_MISMATCH": "The path takes another dataset.";
    FileTooLarge = "FILE_TOO_LARGE": "The file is larger than files may be.";
    FormatMismatch = "FORMAT_MISMATCH": "The name says another format than the headers or the bytes.";
    InvalidCursor = "INVALID_CURSOR": "The cursor is none of ours.";
    InvalidLimit = "INVALID_LIMIT": "The limit is out of its range.";
    InvalidManifest = "INVALID_MANIFEST": "The manifest is not an object that can be stored.";
    InvalidMaxRejects = "INVALID_MAX_REJECTS": "Neither a number of rows nor a share of them.";
    InvalidName = "INVALID_NAME": "Not a name that can be kept.";
    InvalidOnError = "INVALID_ON_ERROR": "Not one of the policies.";
    InvalidOnMissingReference = "INVALID_ON_MISSING_REFERENCE": "Not one of the policies.";
    InvalidSha256 = "INVALID_SHA256": "Not 64 hexadecimal digits.";
    InvalidState = "INVALID_STATE": "Not a state that a session can have.";
    MissingFile = "MISSING_FILE": "The form has no file.";
    NotApplicable = "NOT_APPLICABLE": "The field has no meaning beside the others of the request.";
    NoDataset = "NO_DATASET": "Neither the name nor the request says which dataset it is.";
    NotStreamed = "NOT_STREAMED": "The deployment sends its answers whole, and this would be one without an end.";
    SessionTooLarge = "SESSION_TOO_LARGE": "The files are too large together for one session.";
    SuspiciousCompression = "SUSPICIOUS_COMPRESSION": "The file unpacks to more than any honest file does.";
    TooLargeToHash = "TOO_LARGE_TO_HASH": "A checksum cannot be held against a file that large.";
    TooManyFiles = "TOO_MANY_FILES": "There are more files than a session may have.";
    UnknownDataset = "UNKNOWN_DATASET": "There is no such dataset.";
    UnsupportedFormat = "UNSUPPORTED_FORMAT": "The name has an ending that is none of ours.";
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        words(Self::ALL.iter().map(|code| (code.as_str(), code.meaning())))
    }
}

impl ToSchema for Code {
    fn name() -> Cow<'static, str> {
        "ProblemCode".into()
    }
}

impl PartialSchema for FieldCode {
    fn schema() -> RefOr<Schema> {
        let of_rows = reject::Code::ALL.iter().map(|(_, code, meaning, _)| (*code, *meaning));
        let of_rows = of_rows.filter(|(code, _)| Self::OWN.iter().all(|(own, _)| own != code));
        words(Self::OWN.iter().copied().chain(of_rows))
    }
}

impl ToSchema for FieldCode {}

/// The schema of a text that is one of these words, each with its meaning.
fn words(words: impl Iterator<Item = (&'static str, &'static str)>) -> RefOr<Schema> {
    let (words, meanings): (Vec<_>, Vec<_>) =
        words.map(|(word, meaning)| (word, format!("- `{word}`: {meaning}"))).unzip();
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    schema.description(Some(meanings.join("\n"))).into()
}
