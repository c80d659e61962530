//! What stands in a cell, and how it is written as the value of a field.
//!
//! A cell goes over as it is: what cannot be a value of its field is written so that Intake refuses the row by name. Nothing is
//! made fit, and nothing left out.

use std::borrow::Cow;
use std::io::Write;

use intake_domain::value::Kind;
use serde_json::value::RawValue;
use uuid::Uuid;

/// A cell, as a driver gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Integer(i64),
    /// A binary fraction. What it stands for is the shortest decimal that reads back as it.
    Real(f64),
    /// Text, which should be UTF-8.
    Text(&'a [u8]),
    /// Bytes of a binary column.
    Blob(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// As a text, whatever it is; `None` for null.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Null => None,
            Self::Integer(number) => Some(number.to_string().into()),
            Self::Real(number) => Some(number.to_string().into()),
            Self::Text(bytes) | Self::Blob(bytes) => Some(String::from_utf8_lossy(bytes)),
        }
    }

    /// The id that it holds: in any spelling, or its sixteen bytes.
    pub(crate) fn uuid(self) -> Option<Uuid> {
        match self {
            Self::Blob(bytes) if bytes.len() == 16 => Uuid::from_slice(bytes).ok(),
            Self::Text(bytes) | Self::Blob(bytes) => Uuid::try_parse(str::from_utf8(bytes).ok()?).ok(),
            _ => None,
        }
    }

    /// The whole number that it holds, as in columns of ids that count up.
    pub(crate) fn number(self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(number),
            Self::Text(bytes) => str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    /// Appends it as a JSON value for a field that takes `kind`. Null is not written; whoever calls leaves the field out.
    pub(crate) fn write(self, kind: Kind, line: &mut Vec<u8>) {
        match (kind, self) {
            (_, Self::Null) => line.extend_from_slice(b"null"),
            (Kind::Uuid, Self::Blob(_)) if self.uuid().is_some() => {
                let id = self.uuid().unwrap_or_default();
                line.push(b'"');
                line.extend_from_slice(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
                line.push(b'"');
            }
            (Kind::Bool, cell) => match cell.truth() {
                Some(truth) => line.extend_from_slice(if truth { b"true" } else { b"false" }),
                None => cell.write_plain(line),
            },
            (Kind::Money | Kind::Integer(..) | Kind::Timestamp, cell) => cell.write_plain(line),
            (Kind::Object, Self::Text(bytes) | Self::Blob(bytes)) => match serde_json::from_slice::<&RawValue>(bytes) {
                // between the tokens of JSON a line may end, and within them it cannot
                Ok(json) => {
                    let flat = |byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte };
                    line.extend(json.get().bytes().map(flat));
                }
                Err(_) => write_text(bytes, line),
            },
            (Kind::Object, cell) => cell.write_plain(line),
            // a column of texts that holds a number, as SQLite lets it
            (_, Self::Integer(_) | Self::Real(_)) => write_text(self.text().unwrap_or_default().as_bytes(), line),
            (_, Self::Text(bytes) | Self::Blob(bytes)) => write_text(bytes, line),
        }
    }

    /// As a number where it is one, as a text where it is one.
    fn write_plain(self, line: &mut Vec<u8>) {
        match self {
            Self::Null => line.extend_from_slice(b"null"),
            // writing to memory cannot fail
            Self::Integer(number) => drop(write!(line, "{number}")),
            Self::Real(number) if number.is_finite() => drop(write!(line, "{number}")),
            Self::Real(number) => write_text(number.to_string().as_bytes(), line),
            Self::Text(bytes) | Self::Blob(bytes) => write_text(bytes, line),
        }
    }

    /// The truth value that it holds, as databases write them.
    fn truth(self) -> Option<bool> {
        match self {
            Self::Integer(0) | Self::Blob([0]) => Some(false),
            Self::Integer(1) | Self::Blob([1]) => Some(true),
            Self::Text(bytes) | Self::Blob(bytes) => {
                let says = |words: [&str; 3]| words.iter().any(|word| bytes.eq_ignore_ascii_case(word.as_bytes()));
                match (says(["true", "t", "1"]), says(["false", "f", "0"])) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Appends a JSON string. Bytes that are no UTF-8 stay what they are, so that the row is refused for them.
fn write_text(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in bytes {
        match byte {
            b'"' => line.extend_from_slice(b"\\\""),
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            0..=0x1f => drop(write!(line, "\\u{byte:04x}")),
            _ => line.push(*byte),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: Kind = Kind::Money;
    const TEXT: Kind = Kind::Text(9);

    fn written(kind: Kind, cell: Cell<'_>) -> String {
        let mut line = Vec::new();
        cell.write(kind, &mut line);
        String::from_utf8_lossy(&line).into_owned()
    }

    #[test]
    fn amounts_are_written_to_the_last_digit() {
        for (cell, json) in [
            (Cell::Text(b"19.990"), "\"19.990\""),
            (Cell::Text(b"9999999999.99"), "\"9999999999.99\""),
            (Cell::Real(19.99), "19.99"),
            (Cell::Real(9_999_999_999.99), "9999999999.99"),
            (Cell::Real(0.1 + 0.2), "0.30000000000000004"),
            (Cell::Real(1e21), "1000000000000000000000"),
            (Cell::Integer(20), "20"),
            (Cell::Real(f64::NAN), "\"NaN\""),
            (Cell::Text(b"12,50"), "\"12,50\""),
        ] {
            assert_eq!(written(MONEY, cell), json);
        }
    }

    #[test]
    fn truths_are_written_however_a_database_has_them() {
        for (cell, json) in [
            (Cell::Integer(1), "true"),
            (Cell::Integer(0), "false"),
            (Cell::Text(b"t"), "true"),
            (Cell::Text(b"FALSE"), "false"),
            (Cell::Text(b"0"), "false"),
            (Cell::Blob(b"\x01"), "true"),
            (Cell::Integer(2), "2"),
            (Cell::Text(b"maybe"), "\"maybe\""),
        ] {
            assert_eq!(written(Kind::Bool, cell), json);
        }
    }

    #[test]
    fn ids_may_be_bytes_or_texts() {
        let id = "6b0a5ad2-6c3e-4b52-9a53-1d0f7e5f4a10";
        let bytes = *id.parse::<Uuid>().unwrap().as_bytes();
        assert_eq!(written(Kind::Uuid, Cell::Blob(&bytes)), format!("\"{id}\""));
        assert_eq!(written(Kind::Uuid, Cell::Text(id.as_bytes())), format!("\"{id}\""));
        assert_eq!(written(Kind::Uuid, Cell::Text(b"42")), "\"42\"");
        assert_eq!(written(Kind::Uuid, Cell::Integer(42)), "\"42\"");
        assert_eq!(Cell::Text(id.replace('-', "").as_bytes()).uuid(), id.parse().ok());
        assert_eq!(
            (Cell::Integer(7).number(), Cell::Text(b"7").number(), Cell::Text(b"x").number()),
            (Some(7), Some(7), None)
        );
    }

    #[test]
    fn objects_stay_on_their_line_and_what_is_none_is_a_text() {
        assert_eq!(written(Kind::Object, Cell::Text(b"{\"a\":\r\n \"x\\n\"}")), "{\"a\":   \"x\\n\"}");
        assert_eq!(written(Kind::Object, Cell::Text(b"null")), "null");
        assert_eq!(written(Kind::Object, Cell::Text(b"{'a': None}")), "\"{'a': None}\"");
        assert_eq!(written(Kind::Object, Cell::Text(b"")), "\"\"");
    }

    #[test]
    fn texts_are_escaped_and_bytes_that_are_none_stay() {
        assert_eq!(written(TEXT, Cell::Text("a\"\\\n\0\u{1f}é🛒".as_bytes())), "\"a\\\"\\\\\\n\\u0000\\u001fé🛒\"");
        let mut line = Vec::new();
        Cell::Text(b"a\xff").write(TEXT, &mut line);
        assert_eq!(line, b"\"a\xff\"");
        assert_eq!(written(TEXT, Cell::Integer(7)), "\"7\"");
        assert_eq!(written(Kind::Timestamp, Cell::Integer(7)), "7");
    }
}
