//! What a file is made of: how its rows are laid out, and how it is compressed.

/// How rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180: a header, then one record a row.
    Csv,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, of any number of members.
    Gzip,
    /// RFC 8878, of any number of frames.
    Zstd,
}

/// Both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How its rows are laid out.
    pub layout: Layout,
    /// How it is compressed.
    pub compression: Compression,
}

/// Bytes from the start of a file that tell how it is compressed.
pub const MAGIC_BYTES: usize = 4;

/// The most bytes that a file may have which is read through once to be cut: 20 GiB, unpacked.
///
/// One invocation has 15 minutes for it.
pub const MAX_UNPACKED_BYTES: u64 = 20 << 30;

/// How many bytes may come of one compressed byte, past [`RATIO_FROM_BYTES`]. Repetitive NDJSON reaches 30, a gzip bomb 1,032.
pub const MAX_RATIO: u64 = 250;

/// So many unpacked bytes are looked at before [`MAX_RATIO`] counts: small files of one repeated row are no bombs.
pub const RATIO_FROM_BYTES: u64 = 64 << 20;

impl Format {
    /// The format that a file's name says; `None` when it says none that can be read.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (rest, compression) = [(".gz", Compression::Gzip), (".zst", Compression::Zstd)]
            .into_iter()
            .find_map(|(ending, compression)| Some((name.strip_suffix(ending)?, compression)))
            .unwrap_or((&name, Compression::None));
        let layout = [(".ndjson", Layout::Ndjson), (".jsonl", Layout::Ndjson), (".csv", Layout::Csv)]
            .into_iter()
            .find_map(|(ending, layout)| rest.ends_with(ending).then_some(layout))?;
        Some(Self { layout, compression })
    }

    /// Whether the file must be read through to be cut. Plain lines are cut by arithmetic.
    #[must_use]
    pub fn is_read_through(self) -> bool {
        self.layout == Layout::Csv || self.compression != Compression::None
    }
}

impl Layout {
    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Ndjson, Self::Csv].into_iter().find(|layout| layout.as_str() == text)
    }
}

impl Compression {
    /// As stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|compression| compression.as_str() == text)
    }

    /// What the first bytes of a file say.
    #[must_use]
    pub fn of_bytes(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // a frame, or a skippable one before it (RFC 8878 §3.1)
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Whether `unpacked` bytes from `packed` ones are more than any honest file has.
#[must_use]
pub fn is_suspicious(packed: u64, unpacked: u64) -> bool {
    unpacked > RATIO_FROM_BYTES && unpacked > packed.saturating_mul(MAX_RATIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        let format = |layout, compression| Some(Format { layout, compression });
        assert_eq!(Format::of_name("orders.ndjson"), format(Layout::Ndjson, Compression::None));
        assert_eq!(Format::of_name("Orders.JSONL.GZ"), format(Layout::Ndjson, Compression::Gzip));
        assert_eq!(Format::of_name("orders.csv.zst"), format(Layout::Csv, Compression::Zstd));
        for other in ["orders", "orders.gz", "orders.csv.bz2", "orders.xlsx", "csv", ".gz"] {
            assert_eq!(Format::of_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_bytes_say_the_compression() {
        assert_eq!(Compression::of_bytes(b"\x1f\x8b\x08\x00"), Compression::Gzip);
        assert_eq!(Compression::of_bytes(b"\x28\xb5\x2f\xfd"), Compression::Zstd);
        assert_eq!(Compression::of_bytes(b"\x53\x2a\x4d\x18"), Compression::Zstd);
        assert_eq!(Compression::of_bytes(b"{\"a\""), Compression::None);
        assert_eq!(Compression::of_bytes(b""), Compression::None);
    }

    #[test]
    fn a_bomb_is_told_from_a_file_of_one_row() {
        assert!(!is_suspicious(1 << 10, 1 << 20), "a small file may repeat one row");
        assert!(!is_suspicious(10 << 20, 300 << 20));
        assert!(is_suspicious(1 << 20, 1 << 30));
    }

    #[test]
    fn words_read_back() {
        for layout in [Layout::Ndjson, Layout::Csv] {
            assert_eq!(Layout::parse(layout.as_str()), Some(layout));
        }
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            assert_eq!(Compression::parse(compression.as_str()), Some(compression));
        }
    }
}
