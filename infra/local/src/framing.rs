//! The framing of a streamed answer: a JSON prelude, eight NUL bytes, the body.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/response-transfer-mode-lambda.html>

use bytes::{Bytes, BytesMut};

const DELIMITER: [u8; 8] = [0; 8];

/// What API Gateway takes as prelude is headers; no function has more of them.
const MAX_PRELUDE_BYTES: usize = 64 << 10;

/// Takes the prelude off a stream, in whatever pieces it comes.
#[derive(Default)]
pub(crate) struct Prelude {
    held: BytesMut,
}

/// The prelude is longer than any.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Prelude {
    /// Takes the next piece; once the delimiter has come, returns the prelude and what of the body came with it. JSON
    /// holds no NUL, so the first eight are the delimiter, and a body may begin with more.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<Option<(Bytes, Bytes)>, TooLong> {
        let from = self.held.len().saturating_sub(DELIMITER.len() - 1);
        self.held.extend_from_slice(piece);
        let found = self.held[from..].windows(DELIMITER.len()).position(|window| window == DELIMITER);
        let Some(at) = found else {
            return if self.held.len() > MAX_PRELUDE_BYTES { Err(TooLong) } else { Ok(None) };
        };
        let mut prelude = std::mem::take(&mut self.held);
        let body = prelude.split_off(from + at + DELIMITER.len());
        prelude.truncate(from + at);
        Ok(Some((prelude.freeze(), body.freeze())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prelude_is_found_across_any_two_borders() {
        let body = b"\0\0body\0\0\0\0\0\0\0\0more";
        let whole = [b"{\"statusCode\":200}".as_slice(), &DELIMITER, body].concat();
        for first in 0..=whole.len() {
            for second in first..=whole.len() {
                let mut prelude = Prelude::default();
                let (mut head, mut rest) = (None, Vec::new());
                for piece in [&whole[..first], &whole[first..second], &whole[second..]] {
                    if head.is_some() {
                        rest.extend_from_slice(piece);
                    } else if let Some((found, begun)) = prelude.push(piece).unwrap() {
                        head = Some(found);
                        rest.extend_from_slice(&begun);
                    }
                }
                assert_eq!(head.as_deref(), Some(b"{\"statusCode\":200}".as_slice()), "{first} {second}");
                assert_eq!(rest, body, "{first} {second}");
            }
        }
    }

    #[test]
    fn single_bytes_do_too() {
        let mut prelude = Prelude::default();
        let stream = [b"{}".as_slice(), &DELIMITER].concat();
        let found: Vec<_> = stream.iter().map(|byte| prelude.push(&[*byte]).unwrap()).collect();
        assert!(found[..9].iter().all(Option::is_none));
        assert_eq!(found[9], Some((Bytes::from_static(b"{}"), Bytes::new())));
    }

    #[test]
    fn a_stream_without_a_prelude_is_given_up() {
        let mut prelude = Prelude::default();
        assert_eq!(prelude.push(&[b'x'; MAX_PRELUDE_BYTES]), Ok(None));
        assert_eq!(prelude.push(b"x"), Err(TooLong));
    }
}
