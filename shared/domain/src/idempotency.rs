//! Idempotency: a request with a key has its effect once, and its answer is given again to whoever repeats it.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::time::Duration;
use uuid::Uuid;

/// How long an answer is replayed.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The longest key, in characters.
pub const MAX_KEY: usize = 255;

/// A request that is to have its effect once. A claim belongs to the tenant that makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What stands for its method, path and key, see [`name`].
    pub name: [u8; 32],
    /// SHA-256 of what the request means: the same key must not stand for another request.
    pub fingerprint: [u8; 32],
    /// When it is made, in seconds since 1970. What has expired by then is gone, whether its store has removed it or
    /// not.
    pub at: u64,
    /// Which of all claims of this name it is.
    pub id: Uuid,
}

impl Claim {
    /// When its answer is replayed no longer, in seconds since 1970.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        self.at.saturating_add(LIFETIME.as_secs())
    }
}

/// What stands for a request in the stores: a path may be longer than their keys, and what clients choose for a key is
/// their own affair.
#[must_use]
pub fn name(method: &str, path: &str, key: &str) -> [u8; 32] {
    // none of the three can have a line feed
    Sha256::digest(format!("{method}\n{path}\n{key}")).into()
}

/// What a store finds when it is asked to take a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the claim is taken, and its request may have its effect.
    Nothing,
    /// The same request was answered before.
    Answer(Answer),
    /// The same request is running.
    Running,
    /// The key stands for another request.
    OtherRequest,
}

/// An answer as it is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that the handler set, in their order.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl Answer {
    /// The answer as it is stored: status, headers and body as HTTP writes them, and compressed. Presigned URLs repeat
    /// themselves, and a session of many files would not fit into an item of DynamoDB.
    #[must_use]
    pub fn pack(&self) -> Vec<u8> {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        let head = format!("{}\n{}\n", self.status, headers.collect::<String>());
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        // a vector takes all that is written to it
        packed.write_all(head.as_bytes()).and_then(|()| packed.write_all(&self.body)).unwrap_or_default();
        packed.finish().unwrap_or_default()
    }

    /// The answer that was packed; `None` for what is none.
    #[must_use]
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes).ok()?;
        let end = bytes.windows(2).position(|two| two == b"\n\n")?;
        let mut lines = std::str::from_utf8(&bytes[..end]).ok()?.split('\n');
        let status = lines.next()?.parse().ok()?;
        let headers = lines.map(|line| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())));
        Some(Self { status, headers: headers.collect::<Option<_>>()?, body: bytes.split_off(end + 2) })
    }
}

/// Whether a key is one.
#[must_use]
pub fn is_key(text: &str) -> bool {
    (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_answer_comes_back_byte_for_byte(
            status in 200..600_u16,
            headers in prop::collection::vec(("[a-z-]{1,20}", "[ -~]{0,40}"), 0..4),
            body in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let answer = Answer { status, headers, body };
            prop_assert_eq!(Answer::unpack(&answer.pack()), Some(answer));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let packed = Answer { status: 200, headers: Vec::new(), body: vec![7; 100] }.pack();
        for bytes in [&b""[..], b"200\n\n", &packed[..packed.len() - 1]] {
            assert_eq!(Answer::unpack(bytes), None);
        }
    }

    #[test]
    fn requests_that_differ_have_names_that_differ() {
        let names =
            [("POST", "/a", "b"), ("PUT", "/a", "b"), ("POST", "/a/b", "b"), ("POST", "/a", "c"), ("POST", "/", "ab")];
        let names: std::collections::BTreeSet<_> = names.map(|(method, path, key)| name(method, path, key)).into();
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for key in ["a", "night 1", "3f0e4a39-9d51-0d4b", &"x".repeat(MAX_KEY)] {
            assert!(is_key(key), "{key}");
        }
        for key in ["", "é", "a\tb", &"x".repeat(MAX_KEY + 1)] {
            assert!(!is_key(key), "{key}");
        }
    }
}
