//! Rows into files: NDJSON or CSV, gzipped or not, a new file every so many rows.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use csv::Terminator;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Plan;
use super::value::Field;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A header, then a record a line, as RFC 4180 has it.
    Csv,
    /// A JSON object a line.
    Ndjson,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// What a sink has written.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Files, all closed.
    pub files: Vec<PathBuf>,
    /// Rows in them.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Writes one dataset of one tenant.
pub struct Sink<'a> {
    plan: &'a Plan,
    stem: String,
    chunked: bool,
    open: Option<Open>,
    scratch: Vec<u8>,
    written: Written,
}

struct Open {
    path: PathBuf,
    encoder: Encoder,
    rows: u64,
}

impl<'a> Sink<'a> {
    /// A sink for `<stem>.<format>`, or for `<stem>_chunk_0000.<format>` and its followers when `chunked`.
    pub fn new(plan: &'a Plan, stem: String, chunked: bool) -> Self {
        Self { plan, stem, chunked, open: None, scratch: Vec::with_capacity(1024), written: Written::default() }
    }

    /// Writes one row; the columns of the first row are those of all.
    pub fn push(&mut self, row: &[Field]) -> anyhow::Result<()> {
        if self.chunked && self.open.as_ref().is_some_and(|open| open.rows == self.plan.chunk_size) {
            self.close()?;
        }
        if self.open.is_none() {
            self.open = Some(self.create(row)?);
        }
        if let Some(open) = &mut self.open {
            open.encoder.write(row, &mut self.scratch).with_context(|| cannot_write(&open.path))?;
            open.rows += 1;
        }
        Ok(())
    }

    /// Closes the last file and tells what was written.
    pub fn finish(mut self) -> anyhow::Result<Written> {
        self.close()?;
        Ok(self.written)
    }

    fn create(&self, row: &[Field]) -> anyhow::Result<Open> {
        let chunk = if self.chunked { format!("_chunk_{:04}", self.written.files.len()) } else { String::new() };
        let gz = if self.plan.compress { ".gz" } else { "" };
        let name = format!("{}{chunk}.{}{gz}", self.stem, self.plan.format.extension());
        let path = self.plan.output_dir.join(name);
        let encoder = Encoder::create(&path, self.plan, row).with_context(|| cannot_write(&path))?;
        Ok(Open { path, encoder, rows: 0 })
    }

    fn close(&mut self) -> anyhow::Result<()> {
        if let Some(Open { path, encoder, rows }) = self.open.take() {
            self.written.bytes += encoder.finish().with_context(|| cannot_write(&path))?;
            self.written.rows += rows;
            self.written.files.push(path);
        }
        Ok(())
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

enum Encoder {
    Ndjson(Output),
    Csv(Box<csv::Writer<Output>>),
}

impl Encoder {
    fn create(path: &Path, plan: &Plan, row: &[Field]) -> io::Result<Self> {
        let file = BufWriter::with_capacity(256 * 1024, File::create(path)?);
        let output = match plan.compress {
            // A gzip header without a time of writing: equal rows give equal bytes.
            true => Output::Gzip(GzEncoder::new(file, Compression::fast())),
            false => Output::Plain(file),
        };
        Ok(match plan.format {
            Format::Ndjson => Self::Ndjson(output),
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().terminator(Terminator::CRLF).from_writer(output);
                writer.write_record(row.iter().map(|(name, _)| name))?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    fn write(&mut self, row: &[Field], scratch: &mut Vec<u8>) -> io::Result<()> {
        scratch.clear();
        match self {
            Self::Ndjson(output) => {
                let mut before = '{';
                for (name, value) in row {
                    // The names are ours and hold nothing to escape.
                    write!(scratch, "{before}\"{name}\":")?;
                    value.write_json(scratch)?;
                    before = ',';
                }
                scratch.extend_from_slice(b"}\n");
                output.write_all(scratch)
            }
            Self::Csv(writer) => {
                for (_, value) in row {
                    scratch.clear();
                    value.write_plain(scratch)?;
                    writer.write_field(&scratch)?;
                }
                Ok(writer.write_record(None::<&[u8]>)?)
            }
        }
    }

    /// Flushes everything; answers the file's size.
    fn finish(self) -> io::Result<u64> {
        let output = match self {
            Self::Ndjson(output) => output,
            Self::Csv(writer) => writer.into_inner().map_err(csv::IntoInnerError::into_error)?,
        };
        let file = match output {
            Output::Plain(file) => file,
            Output::Gzip(encoder) => encoder.finish()?,
        };
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(file.metadata()?.len())
    }
}

enum Output {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
        }
    }
}
