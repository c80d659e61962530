//! Unpacking as the bytes come, in bounded memory.

use flate2::write::MultiGzDecoder;
use intake_domain::format::Compression;
use std::io::{self, Write};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// The largest window of zstd that is taken, as a power of two: 8 MiB, which every level but the `--ultra` ones and `--long`
/// stays within, and which RFC 8878 (§3.1.1.1.2) asks every decoder to have.
const WINDOW_LOG_MAX: u32 = 23;

/// How much room zstd gets at a time.
const ROOM: usize = 128 << 10;

/// Why data does not unpack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("the gzip data is damaged: {0}")]
    Gzip(io::Error),
    #[error("the zstd data is damaged, or has a window over 8 MiB: {0}")]
    Zstd(io::Error),
    #[error("the compressed data is cut off")]
    CutOff,
}

/// Unpacks what is pushed.
pub(crate) enum Unpacker {
    None { bytes: Vec<u8> },
    Gzip { decoder: Box<MultiGzDecoder<Vec<u8>>>, bytes: Vec<u8>, is_empty: bool },
    Zstd { decoder: Decoder<'static>, bytes: Vec<u8>, is_open: bool },
}

impl Unpacker {
    pub(crate) fn new(compression: Compression) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None { bytes: Vec::new() },
            Compression::Gzip => {
                let decoder = Box::new(MultiGzDecoder::new(Vec::new()));
                Self::Gzip { decoder, bytes: Vec::new(), is_empty: true }
            }
            Compression::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
                Self::Zstd { decoder, bytes: Vec::new(), is_open: false }
            }
        })
    }

    /// What comes of the next bytes.
    pub(crate) fn push(&mut self, packed: &[u8]) -> Result<&[u8], UnpackError> {
        match self {
            Self::None { bytes } => {
                bytes.clear();
                bytes.extend_from_slice(packed);
                Ok(bytes)
            }
            Self::Gzip { decoder, bytes, is_empty } => {
                *is_empty &= packed.is_empty();
                decoder.write_all(packed).map_err(UnpackError::Gzip)?;
                bytes.clear();
                std::mem::swap(bytes, decoder.get_mut());
                Ok(bytes)
            }
            Self::Zstd { decoder, bytes, is_open } => {
                bytes.clear();
                let mut input = InBuffer::around(packed);
                loop {
                    let filled = bytes.len();
                    bytes.resize(filled + ROOM, 0);
                    let mut output = OutBuffer::around_pos(bytes.as_mut_slice(), filled);
                    let hint = decoder.run(&mut input, &mut output).map_err(UnpackError::Zstd)?;
                    let end = output.pos();
                    let is_full = end == bytes.len();
                    bytes.truncate(end);
                    *is_open = hint != 0;
                    if input.pos() == packed.len() && !is_full {
                        return Ok(bytes);
                    }
                }
            }
        }
    }

    /// What is left at the end of the file.
    pub(crate) fn finish(&mut self) -> Result<&[u8], UnpackError> {
        match self {
            Self::Gzip { is_empty: true, .. } | Self::None { .. } | Self::Zstd { is_open: false, .. } => Ok(&[]),
            Self::Zstd { .. } => Err(UnpackError::CutOff),
            Self::Gzip { decoder, bytes, .. } => {
                decoder.try_finish().map_err(|_| UnpackError::CutOff)?;
                bytes.clear();
                std::mem::swap(bytes, decoder.get_mut());
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;

    const TEXT: &[u8] = b"{\"a\": 1}\n";

    fn text() -> Vec<u8> {
        TEXT.repeat(20_000)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).expect("memory")
    }

    fn unpack(compression: Compression, packed: &[u8], block: usize) -> Result<Vec<u8>, UnpackError> {
        let mut unpacker = Unpacker::new(compression).expect("a decoder");
        let mut found = Vec::new();
        for part in packed.chunks(block) {
            found.extend_from_slice(unpacker.push(part)?);
        }
        found.extend_from_slice(unpacker.finish()?);
        Ok(found)
    }

    #[test]
    fn any_number_of_members_unpack_in_any_blocks() {
        let text = text();
        let (first, second) = text.split_at(77_777);
        for (compression, pack) in [(Compression::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Compression::Zstd, zstd)] {
            let packed = [pack(first), pack(b""), pack(second)].concat();
            for block in [1, 7, 4096, packed.len()] {
                assert!(unpack(compression, &packed, block).expect("whole") == text, "{compression:?} by {block}");
            }
            assert_eq!(unpack(compression, b"", 1).expect("nothing"), b"");
        }
    }

    #[test]
    fn damage_is_told() {
        for (compression, packed) in [(Compression::Gzip, gzip(&text())), (Compression::Zstd, zstd(&text()))] {
            for length in [packed.len() - 1, packed.len() / 2, 5] {
                assert!(unpack(compression, &packed[..length], 64).is_err(), "{compression:?} cut at {length}");
            }
            let mut damaged = packed.clone();
            let middle = damaged.len() / 2;
            damaged[middle] ^= 0xff;
            assert!(
                unpack(compression, &damaged, 64).is_err()
                    || unpack(compression, &damaged, 64).expect("a text") != text()
            );
            assert!(unpack(compression, &[packed, b"no member".to_vec()].concat(), 64).is_err());
        }
    }

    #[test]
    fn a_window_that_would_not_fit_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.window_log(27).expect("a window");
        encoder.include_contentsize(false).expect("a flag");
        encoder.write_all(&text()).expect("memory");
        encoder.flush().expect("memory");
        encoder.write_all(&vec![7; 64 << 20]).expect("memory");
        let packed = encoder.finish().expect("memory");
        assert!(matches!(unpack(Compression::Zstd, &packed, 4096), Err(UnpackError::Zstd(_))));
    }
}
