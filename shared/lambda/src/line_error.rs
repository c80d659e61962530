//! What is wrong with a line of a request, as answers say it.

use intake_domain::reject::{Code, RowError};
use serde::Serialize;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// What is wrong with a row.
pub enum RowErrorCode {}

impl PartialSchema for RowErrorCode {
    fn schema() -> RefOr<Schema> {
        let codes = Code::ALL.iter().map(|(_, code, ..)| *code);
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes));
        words.description(Some("What is wrong with a row.")).into()
    }
}

impl ToSchema for RowErrorCode {}

/// Something that is wrong with a line.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LineError {
    /// From 1; blank lines have numbers, too.
    #[schema(minimum = 1)]
    pub line: u32,
    /// What is wrong with it.
    #[schema(value_type = RowErrorCode)]
    pub code: Code,
    /// The field, as a JSON pointer; empty for the line as a whole.
    pub pointer: String,
    /// One sentence for people.
    pub detail: String,
}

impl LineError {
    /// An error of that line.
    #[must_use]
    pub fn new(line: u32, error: RowError) -> Self {
        let RowError { code, pointer, detail } = error;
        Self { line, code, pointer, detail }
    }
}
