//! Where an object of a file lies in the bucket.

use crate::chunk::ChunkRange;
use sha2::{Digest, Sha256};
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

    /// The id of a row that brings none, by where it begins in the file: the same whenever the file is loaded again, another
    /// in every file, and in the order of uploads like all ids made here (UUID v8, RFC 9562).
    #[must_use]
    pub fn row_id(&self, offset: u64) -> Uuid {
        let mut digest = Sha256::new_with_prefix(self.file_id.as_bytes());
        digest.update(offset.to_be_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.finalize()[..16]);
        bytes[..6].copy_from_slice(&self.file_id.as_bytes()[..6]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The key of the object that holds a range of the unpacked file's bytes. It says all that is in there: whoever cuts that
    /// range writes the same.
    #[must_use]
    pub fn piece(&self, ChunkRange { start, end }: ChunkRange) -> String {
        format!("unpacked/{}/sessions/{}/{}/{start}-{end}", self.tenant_id, self.session_id, self.file_id)
    }

    /// The key that such an object had before.
    #[must_use]
    pub fn numbered_piece(&self, chunk_index: i32) -> String {
        format!("unpacked/{}/sessions/{}/{}/{chunk_index:06}", self.tenant_id, self.session_id, self.file_id)
    }

    /// The key of the object that holds one chunk's staged rows.
    #[must_use]
    pub fn staged(&self, chunk_index: i32) -> String {
        format!("staging/{}/sessions/{}/{}/{chunk_index:06}", self.tenant_id, self.session_id, self.file_id)
    }
}

/// Where a tenant's objects lie: what it uploaded, its validated and its unpacked chunks, its exports. Each ends with a slash,
/// so that it is no other tenant's.
#[must_use]
pub fn prefixes_of_tenant(tenant: Uuid) -> [String; 4] {
    ["tenants", "staging", "unpacked", "exports"].map(|kind| format!("{kind}/{tenant}/"))
}

/// Where the objects of one upload session lie.
#[must_use]
pub fn prefixes_of_session(tenant: Uuid, session: Uuid) -> [String; 3] {
    ["tenants", "staging", "unpacked"].map(|kind| format!("{kind}/{tenant}/sessions/{session}/"))
}

/// Where the objects of one export lie.
#[must_use]
pub fn prefix_of_export(tenant: Uuid, export: Uuid) -> String {
    format!("exports/{tenant}/{export}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_lies_under_a_prefix_of_its_session_and_tenant() {
        let key =
            FileKey { tenant_id: Uuid::from_u128(1), session_id: Uuid::from_u128(2), file_id: Uuid::from_u128(3) };
        for object in
            [key.to_string(), key.piece(ChunkRange { start: 7, end: 9 }), key.numbered_piece(7), key.staged(7)]
        {
            let under = |prefixes: &[String]| prefixes.iter().filter(|prefix| object.starts_with(*prefix)).count();
            assert_eq!(under(&prefixes_of_session(key.tenant_id, key.session_id)), 1, "{object}");
            assert_eq!(under(&prefixes_of_tenant(key.tenant_id)), 1, "{object}");
        }
    }

    #[test]
    fn a_row_without_an_id_gets_one_from_its_place() {
        let key = FileKey { tenant_id: Uuid::nil(), session_id: Uuid::nil(), file_id: Uuid::from_u128(7 << 80) };
        assert_eq!(key.row_id(5), key.row_id(5));
        assert_ne!(key.row_id(5), key.row_id(6));
        assert_ne!(key.row_id(5), FileKey { file_id: Uuid::from_u128(8 << 80), ..key }.row_id(5));
        assert_eq!((key.row_id(5).get_version_num(), key.row_id(5).as_u128() >> 80), (8, 7));
    }

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
