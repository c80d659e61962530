//! What a shop takes out: which rows and columns, written how, and what is said of the file.

mod columns;
mod text;

pub use columns::{Column, Kind, SOURCES, Source};
pub use text::{Cell, TextWriter};

use crate::format::Compression;
use std::fmt;
use uuid::Uuid;

/// The prefix of the objects of exports, under which nothing raises an event.
pub const PREFIX: &str = "exports/";

/// How the rows of an export are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, with a header.
    Csv,
    /// One JSON object a line.
    Json,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Json, Self::Parquet];

    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == text)
    }
}

/// Where an export stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nobody works on it yet.
    Pending,
    /// It is being written.
    Running,
    /// The file is there.
    Completed,
    /// It ended without a file; its error says why.
    Failed,
    /// It ended because somebody asked.
    Cancelled,
    /// The file was there.
    Expired,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled, Self::Expired];

    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The state at a time after which, or before which, the file expires: a file that is there is there for its time.
    #[must_use]
    pub fn at(self, has_expired: bool) -> Self {
        if self == Self::Completed && has_expired { Self::Expired } else { self }
    }

    /// Whether nothing more happens to it, but that it expires.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

macro_rules! failures {
    ($($variant:ident = $code:literal: $meaning:literal;)*) => {
        /// Why an export failed. Codes are never renamed or used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure {
            $(#[doc = $meaning] $variant,)*
        }

        impl Failure {
            /// Every code with its meaning.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $meaning),)*];

            /// The code as stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

failures! {
    TooLarge = "TOO_LARGE": "The file has more parts than an object may have.";
    TooSlow = "TOO_SLOW": "The file was not written in time: in one try where it cannot be gone on with, else in twelve, each of which found other rows than the one before.";
    ExportFailed = "EXPORT_FAILED": "The file could not be written in five tries.";
    DeadLetter = "DEAD_LETTER": "The work on the export ended five times without an answer: out of memory, out of time, or a crash.";
}

/// A file as it was ordered.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whose rows.
    pub tenant_id: Uuid,
    /// The export.
    pub export_id: Uuid,
    /// Which rows.
    pub source: &'static Source,
    /// How they are written.
    pub format: Format,
    /// How the whole is compressed.
    pub compression: Compression,
}

impl Shape {
    /// The name that the file is downloaded under. Uploaded as it is, it says its dataset and its format.
    #[must_use]
    pub fn file_name(&self) -> String {
        let layout = match self.format {
            Format::Csv => ".csv",
            Format::Json => ".ndjson",
            Format::Parquet => ".parquet",
        };
        let compression = match self.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        };
        // the last digits of a v7 id are its random ones
        let id = self.export_id.simple().to_string();
        format!("{}_{}_{}{layout}{compression}", self.source.name, self.tenant_id, &id[20..])
    }

    /// What the file is, as HTTP has it.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match (self.compression, self.format) {
            (Compression::Gzip, _) => "application/gzip",
            (Compression::Zstd, _) => "application/zstd",
            (Compression::None, Format::Csv) => "text/csv; charset=utf-8",
            (Compression::None, Format::Json) => "application/x-ndjson",
            (Compression::None, Format::Parquet) => "application/vnd.apache.parquet",
        }
    }

    /// The key of the object that a try writes. Each try that begins anew has its own, so that one that was taken for dead
    /// writes into nobody's file.
    #[must_use]
    pub fn object_key(&self, attempt: i32) -> String {
        format!("{PREFIX}{}/{}/{attempt}/{}", self.tenant_id, self.export_id, self.file_name())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_name::classify;

    #[test]
    fn words_read_back() {
        for format in Format::ALL {
            assert_eq!(Format::parse(format.as_str()), Some(format));
        }
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn only_a_file_that_is_there_expires() {
        assert_eq!(State::Completed.at(true), State::Expired);
        for state in State::ALL.into_iter().filter(|state| *state != State::Completed) {
            assert_eq!(state.at(true), state);
        }
        assert_eq!(State::Completed.at(false), State::Completed);
    }

    #[test]
    fn a_files_name_says_what_is_in_it() {
        for source in SOURCES {
            for (format, compression) in
                [(Format::Csv, Compression::None), (Format::Csv, Compression::Gzip), (Format::Json, Compression::Zstd)]
            {
                let shape =
                    Shape { tenant_id: Uuid::from_u128(1), export_id: Uuid::from_u128(2), source, format, compression };
                let name = shape.file_name();
                let read = classify(&name, None).map(|(dataset, format)| (dataset.name, format.compression));
                let expected = crate::dataset::by_name(source.name).map(|dataset| (dataset.name, compression));
                assert_eq!(read.ok(), expected, "{name}");
                assert!(shape.object_key(3).ends_with(&format!("/3/{name}")));
            }
        }
    }
}
