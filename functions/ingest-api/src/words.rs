//! The words that stand in requests and answers, for the OpenAPI document: the code that reads and writes them is the
//! one list of them.

use intake_domain::dataset;
use intake_domain::failure::Failure;
use intake_domain::format::{Compression as Packing, Layout as Rows};
use intake_domain::state::FileState as State;
use intake_domain::upload::MAX_FILE_BYTES;
use utoipa::openapi::schema::{KnownFormat, SchemaFormat};
use utoipa::openapi::{Object, ObjectBuilder, OneOfBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What a token is, in parameters of paths.
pub(crate) const UPLOAD_TOKEN: &str = "What the session was opened with.";

/// Where it stands in the answer of whatever opens a session.
pub(crate) const TOKEN_OF_ANSWER: &str = "$response.body#/upload_token";

macro_rules! words {
    ($($name:ident = $description:literal: $words:expr;)*) => {$(
        #[doc = $description]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                words.description(Some($description)).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

words! {
    Dataset = "What a file has rows of.": dataset::ALL.iter().map(|dataset| dataset.name);
    FileState = "How far a file is.": State::ALL.map(State::as_str);
    SessionState = "How far a session is; it follows from the states of its files.":
        State::ALL.into_iter().filter(|state| *state != State::Uploaded).map(State::as_str);
    Progress = "How far it is, in the words of the system before this one.":
        ["pending", "processing", "completed", "failed"];
    Layout = "How rows are laid out.": [Rows::Ndjson, Rows::Csv].map(Rows::as_str);
    Compression = "How a file is compressed.": [Packing::None, Packing::Gzip, Packing::Zstd].map(Packing::as_str);
    OnError = "What becomes of a file with bad rows: the good ones go in, or none.": ["reject_rows", "reject_file"];
    OnMissingReference = "What becomes of rows that refer to one that is not there.": ["accept", "reject"];
    FileErrorCode = "Why a file ended without all its rows being in.":
        Failure::ALL.iter().map(|(failure, _)| failure.as_str());
    WebhookState = "How far a call is.": ["pending", "delivered", "failed"];
}

/// How many rejects a file may have: a number of rows, or a share of them.
pub(crate) enum MaxRejects {}

impl PartialSchema for MaxRejects {
    fn schema() -> RefOr<Schema> {
        let count = integer(i64::MAX as u64);
        let share =
            ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^(100(\.0{1,2})?|\d{1,2}(\.\d{1,2})?)%$"));
        let either = OneOfBuilder::new().item(count).item(share).examples(["0.5%"]);
        either.description(Some("How many rejects a file may have: a number of rows, or a share of them.")).into()
    }
}

impl ToSchema for MaxRejects {}

/// The size of a file that is declared, in bytes.
pub(crate) fn file_size() -> Object {
    let size = ObjectBuilder::from(integer(MAX_FILE_BYTES)).examples([6_291_456]);
    let text =
        "How many bytes the file has; CSV and compressed files, which are read through to be cut, at most 20 GiB.";
    size.description(Some(text)).build()
}

fn integer(maximum: u64) -> Object {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    let integer = ObjectBuilder::new().schema_type(Type::Integer).format(Some(format));
    integer.minimum(Some(0)).maximum(Some(maximum as i64)).build()
}
