//! Where an object of a file lies in the bucket.

use std::fmt;
use uuid::Uuid;

/// The prefix under which clients upload; everything below it raises an event.
pub const UPLOADS: &str = "tenants/";

/// Names one file: `tenants/{tenant_id}/sessions/{session_id}/{file_id}` is the key of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKey {
    /// The owner.
    pub tenant_id: Uuid,
    /// Its upload session.
    pub session_id: Uuid,
    /// The file.
    pub file_id: Uuid,
}

impl fmt::Display for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{UPLOADS}{}/sessions/{}/{}", self.tenant_id, self.session_id, self.file_id)
    }
}

impl FileKey {
    /// Reads a key back; `None` when it is not one of ours.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let mut parts = key.strip_prefix(UPLOADS)?.split('/');
        let tenant_id = parts.next()?.parse().ok()?;
        (parts.next()? == "sessions").then_some(())?;
        let key = Self { tenant_id, session_id: parts.next()?.parse().ok()?, file_id: parts.next()?.parse().ok()? };
        parts.next().is_none().then_some(key)
    }

    /// Reads a key as an S3 event carries it: emulators and S3 itself encode differently, so both `+` and `%xx` are undone.
    #[must_use]
    pub fn parse_encoded(key: &str) -> Option<Self> {
        let mut plain = String::with_capacity(key.len());
        let mut rest = key;
        while let Some(at) = rest.find(['%', '+']) {
            plain.push_str(&rest[..at]);
            if rest.as_bytes()[at] == b'+' {
                plain.push(' ');
                rest = &rest[at + 1..];
            } else {
                plain.push(char::from(u8::from_str_radix(rest.get(at + 1..at + 3)?, 16).ok()?));
                rest = &rest[at + 3..];
            }
        }
        plain.push_str(rest);
        Self::parse(&plain)
    }

    /// The key of the object that holds one chunk's staged rows.
    #[must_use]
    pub fn staged(&self, chunk_index: i32) -> String {
        format!("staging/{}/sessions/{}/{}/{chunk_index:06}", self.tenant_id, self.session_id, self.file_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_however_it_is_encoded() {
        let key =
            FileKey { tenant_id: Uuid::from_u128(1), session_id: Uuid::from_u128(2), file_id: Uuid::from_u128(3) };
        let text = key.to_string();
        assert_eq!(FileKey::parse(&text), Some(key));
        assert_eq!(FileKey::parse_encoded(&text.replace('/', "%2F")), Some(key));
        assert_eq!(FileKey::parse_encoded(&format!("{text}/x")), None);
        assert_eq!(FileKey::parse_encoded(&format!("{text}%")), None);
        assert_eq!(FileKey::parse_encoded("tenants/%C3%28"), None);
    }
}
