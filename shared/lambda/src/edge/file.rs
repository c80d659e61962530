//! A file in a request: its body as it is, or the field `file` of a form, and either may be compressed.

use super::bytes;
use crate::Problem;
use crate::problem::{Code, FieldCode, FieldError};
use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use flate2::read::MultiGzDecoder;
use intake_domain::format::{Compression, Layout};
use std::io::Read;

/// The largest file that is taken in a request, in bytes. A function takes 6 MB, in which a file is Base64.
pub const MAX_FILE_BYTES: usize = 4 << 20;

/// The largest file in a request once it is unpacked, in bytes.
pub const MAX_UNPACKED_BYTES: usize = 16 << 20;

/// The largest window of zstd that is taken, as a power of two: 8 MiB, which RFC 8878 (§3.1.1.1.2) asks every decoder
/// to have.
const WINDOW_LOG_MAX: u32 = 23;

/// What a request is refused with for its file, besides what follows from having a body: for
/// [`Needs::refusing`](super::Needs::refusing).
pub const FILE_REFUSALS: [Code; 2] = [Code::InvalidMultipart, Code::UnsupportedEncoding];

/// What files a route takes as a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepts {
    /// NDJSON or CSV, as `Content-Type` says.
    Rows,
    /// NDJSON, where `Content-Type` says so or says nothing of rows: JSON, bytes, or nothing at all.
    Ndjson,
}

/// A file as it came.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name, where a form gives one.
    pub name: Option<String>,
    /// What `Content-Type` says; a form leaves it to the name.
    pub layout: Option<Layout>,
    /// What `Content-Encoding` says.
    pub encoding: Option<Compression>,
    /// The bytes, not unpacked.
    pub bytes: Bytes,
}

impl Accepts {
    fn layout(self, media_type: &str) -> Option<Layout> {
        match (media_type, self) {
            ("application/x-ndjson" | "application/ndjson" | "application/jsonl", _) => Some(Layout::Ndjson),
            ("" | "application/json" | "application/octet-stream", Self::Ndjson) => Some(Layout::Ndjson),
            ("text/csv", Self::Rows) => Some(Layout::Csv),
            _ => None,
        }
    }

    fn refusal(self) -> Problem {
        let detail = match self {
            Self::Rows => "Content-Type must be multipart/form-data, application/x-ndjson or text/csv",
            Self::Ndjson => "Content-Type must be multipart/form-data or application/x-ndjson",
        };
        Problem::new(Code::UnsupportedMediaType, detail)
    }
}

impl File {
    /// Reads the file out of a request.
    ///
    /// # Errors
    /// 400 for a body or a form that breaks off, 413 for one over [`MAX_FILE_BYTES`], 415 for what the route does not
    /// take, 422 for a form without a field `file`.
    pub async fn read(request: Request, accepts: Accepts) -> Result<Self, Problem> {
        let headers = request.headers();
        // as bytes: one that is no text is not one that is not there
        let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
        let encoding = match encoding.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => None,
            b"gzip" | b"x-gzip" => Some(Compression::Gzip),
            b"zstd" => Some(Compression::Zstd),
            _ => {
                let detail = "Content-Encoding must be gzip or zstd, or not be there";
                return Err(Problem::new(Code::UnsupportedEncoding, detail));
            }
        };
        let media_type = media_type(headers).ok_or_else(|| accepts.refusal())?;
        if media_type == "multipart/form-data" {
            return read_form(request).await;
        }
        let layout = accepts.layout(&media_type).ok_or_else(|| accepts.refusal())?;
        let bytes = bytes(request, &()).await.map_err(|problem| match problem.code() {
            Code::PayloadTooLarge => too_large(),
            _ => problem,
        })?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(too_large());
        }
        Ok(Self { name: None, layout: Some(layout), encoding, bytes })
    }

    /// The bytes, unpacked if they begin as compressed ones do: a gateway may have unpacked on the way what the headers
    /// call compressed, and a form has no such header. Rows of text never begin so.
    ///
    /// # Errors
    /// 413 for what is over [`MAX_UNPACKED_BYTES`] then, 422 for what cannot be unpacked.
    pub fn unpacked(self) -> Result<Bytes, Problem> {
        let mut unpacked = Vec::new();
        let corrupt = |error: std::io::Error| {
            let detail = format!("cannot be unpacked: {error}");
            Problem::invalid(vec![FieldError::new("/file", FieldCode::CorruptCompression, detail)])
        };
        let limit = MAX_UNPACKED_BYTES as u64 + 1;
        match Compression::of_bytes(&self.bytes) {
            Compression::None => return Ok(self.bytes),
            Compression::Gzip => MultiGzDecoder::new(self.bytes.as_ref()).take(limit).read_to_end(&mut unpacked),
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(self.bytes.as_ref()).map_err(corrupt)?;
                decoder.window_log_max(WINDOW_LOG_MAX).map_err(corrupt)?;
                decoder.take(limit).read_to_end(&mut unpacked)
            }
        }
        .map_err(corrupt)?;
        if unpacked.len() > MAX_UNPACKED_BYTES {
            return Err(too_large());
        }
        Ok(unpacked.into())
    }
}

/// What a body is, without parameters; empty where nobody says, and `None` where it is no text.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(Some(""), |value| value.to_str().ok())?;
    Some(content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// 413 for a file that is too large for a request.
#[must_use]
pub fn too_large() -> Problem {
    let detail = format!(
        "a file in a request has at most {MAX_FILE_BYTES} bytes, and unpacked {MAX_UNPACKED_BYTES}; declare a larger \
         one with POST /api/v1/ingest/sessions and upload it to the URLs in the answer"
    );
    Problem::new(Code::PayloadTooLarge, detail)
}

/// Reads the field `file` of a form; other fields are nobody's.
async fn read_form(request: Request) -> Result<File, Problem> {
    let bad = |detail: String| Problem::new(Code::InvalidMultipart, detail);
    let broken = |error: MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => bad(error.body_text()),
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| bad(error.body_text()))?;
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        if field.name() != Some("file") {
            continue;
        }
        let name = field.file_name().map(str::to_owned);
        let mut bytes = Vec::new();
        while let Some(more) = field.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&more);
            if bytes.len() > MAX_FILE_BYTES {
                return Err(too_large());
            }
        }
        return Ok(File { name, layout: None, encoding: None, bytes: bytes.into() });
    }
    Err(Problem::invalid(vec![FieldError::new("/file", FieldCode::MissingFile, "the form has no such field")]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("memory")
    }

    async fn read(accepts: Accepts, headers: &[(&str, &[u8])], body: impl Into<Body>) -> Result<File, Code> {
        let request = headers.iter().fold(Request::post("/"), |request, (name, value)| request.header(*name, *value));
        let request = request.body(body.into()).expect("a request");
        File::read(request, accepts).await.map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn a_file_is_a_body_of_a_type_that_the_route_takes() {
        let layout = async |accepts, content_type: &'static str| {
            let header: &[(&str, &[u8])] = &[("content-type", content_type.as_bytes())];
            let header = if content_type.is_empty() { &[] } else { header };
            read(accepts, header, "{}").await.map(|file| file.layout)
        };
        for (content_type, rows, ndjson) in [
            ("application/x-ndjson", Some(Layout::Ndjson), Some(Layout::Ndjson)),
            ("Application/JSONL; charset=utf-8", Some(Layout::Ndjson), Some(Layout::Ndjson)),
            ("text/csv", Some(Layout::Csv), None),
            ("application/json", None, Some(Layout::Ndjson)),
            ("application/octet-stream", None, Some(Layout::Ndjson)),
            ("", None, Some(Layout::Ndjson)),
            ("application/x-www-form-urlencoded", None, None),
            ("\u{e9}", None, None),
        ] {
            for (accepts, due) in [(Accepts::Rows, rows), (Accepts::Ndjson, ndjson)] {
                let due = due.map(Some).ok_or(Code::UnsupportedMediaType);
                assert_eq!(layout(accepts, content_type).await, due, "{accepts:?} {content_type}");
            }
        }
    }

    #[tokio::test]
    async fn an_encoding_is_known_or_refused() {
        for (encoding, due) in [
            (&b""[..], Ok(None)),
            (b"identity", Ok(None)),
            (b" GZIP ", Ok(Some(Compression::Gzip))),
            (b"zstd", Ok(Some(Compression::Zstd))),
            (b"br", Err(Code::UnsupportedEncoding)),
            (b"\xff", Err(Code::UnsupportedEncoding)),
        ] {
            let file = read(Accepts::Ndjson, &[("content-encoding", encoding)], "{}").await;
            assert_eq!(file.map(|file| file.encoding), due, "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn a_form_has_its_file_in_one_field() {
        let form = |field: &str| {
            let head = format!("content-disposition: form-data; name=\"{field}\"; filename=\"a.ndjson\"");
            let note = "--x\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhi";
            format!("{note}\r\n--x\r\n{head}\r\n\r\n{{}}\r\n--x--\r\n")
        };
        let read = async |body: String| {
            read(Accepts::Ndjson, &[("content-type", b"multipart/form-data; boundary=x")], body).await
        };
        let file = read(form("file")).await.expect("a file");
        assert_eq!((file.name.as_deref(), file.layout, file.bytes.as_ref()), (Some("a.ndjson"), None, &b"{}"[..]));
        assert_eq!(read(form("other")).await.map(|file| file.bytes), Err(Code::InvalidRequest));
        assert_eq!(read(form("file")[..90].to_owned()).await.map(|file| file.bytes), Err(Code::InvalidMultipart));
        assert_eq!(read("x".repeat(100)).await.map(|file| file.bytes), Err(Code::InvalidMultipart));
    }

    #[tokio::test]
    async fn a_file_that_is_too_large_is_refused_packed_or_not() {
        let read = async |body: Vec<u8>| read(Accepts::Ndjson, &[], body).await;
        assert_eq!(read(vec![b' '; MAX_FILE_BYTES + 1]).await.map(|file| file.bytes), Err(Code::PayloadTooLarge));
        let unpacked = |bytes: Vec<u8>| async move {
            let unpacked = read(bytes).await.expect("a file").unpacked();
            unpacked.map(|bytes| bytes.len()).map_err(|problem| problem.code())
        };
        for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
            assert_eq!(unpacked(pack(b"{}\n")).await, Ok(3));
            assert_eq!(unpacked(pack(&vec![b' '; MAX_UNPACKED_BYTES])).await, Ok(MAX_UNPACKED_BYTES));
            assert_eq!(unpacked(pack(&vec![b' '; MAX_UNPACKED_BYTES + 1])).await, Err(Code::PayloadTooLarge));
            let cut = pack(b"{\"a\": 1}\n{\"b\": 2}\n");
            assert_eq!(unpacked(cut[..cut.len() - 4].to_vec()).await, Err(Code::InvalidRequest));
        }
        assert_eq!(unpacked(b"{}".to_vec()).await, Ok(2));
        assert_eq!(unpacked([gzip(b"{}\n"), gzip(b"{}\n")].concat()).await, Ok(6));
        let mut wide = zstd::Encoder::new(Vec::new(), 1).expect("memory");
        wide.window_log(27).expect("a window");
        wide.write_all(&vec![b' '; 9 << 20]).expect("memory");
        assert_eq!(unpacked(wide.finish().expect("memory")).await, Err(Code::InvalidRequest));
    }
}
