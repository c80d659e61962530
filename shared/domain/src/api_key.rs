//! API keys: how they look, and the hash by which they are known.

use sha2::{Digest, Sha256};
use std::time::Duration;
use subtle::ConstantTimeEq;

/// For how long a function may take a key without asking again. A revoked one is refused everywhere after that.
pub const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How every key begins that Intake has made.
const MARK: &str = "itk_";

/// The hex digits of 256 random bits.
const BODY_CHARS: usize = 64;

/// What is shown of a key: the mark and 32 of the 256 random bits.
const PREFIX_CHARS: usize = 12;

/// So many bytes of a hash find the stored ones that may be equal to it; which of them is, [`is_same`] says.
pub const LOOKUP_BYTES: usize = 8;

/// A key made by Intake: `itk_`, 64 hex digits of randomness, and 8 hex digits of checksum.
///
/// The checksum lets a scanner for leaked secrets recognise a key without asking anyone. Keys imported from elsewhere
/// have any form; only their hash is ever compared.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// The key that 256 random bits make.
    #[must_use]
    pub fn generate(random: [u8; 32]) -> Self {
        let body = hex::encode(random);
        let checksum = checksum(&body);
        Self(format!("{MARK}{body}{checksum}"))
    }

    /// The key itself. It is shown once and never logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is stored in place of the key.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }

    /// The first characters, by which an operator tells keys apart.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..PREFIX_CHARS]
    }
}

fn checksum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..4])
}

/// A key as a client sends it, before anybody is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    /// Intake's, checksum and all.
    Own {
        /// The first characters, which may be logged.
        prefix: &'a str,
    },
    /// It begins as Intake's do and does not end so: mistyped, cut off or made up, and nobody holds it.
    Broken,
    /// Imported, perhaps. Nothing of it may be logged: it may be short enough to guess the rest.
    Foreign,
}

/// What can be said of a key by its look.
#[must_use]
pub fn form(key: &str) -> Form<'_> {
    let Some(rest) = key.strip_prefix(MARK) else { return Form::Foreign };
    match rest.split_at_checked(BODY_CHARS) {
        Some((body, end)) if end == checksum(body) => Form::Own { prefix: &key[..PREFIX_CHARS] },
        _ => Form::Broken,
    }
}

/// SHA-256 of a key as a client sends it.
///
/// A stored hash sent as a key is hashed once more and so never matches itself.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// By which an operator tells an imported key from others, when nothing but its hash is known.
#[must_use]
pub fn prefix_of_hash(hash: &[u8; 32]) -> String {
    format!("sha:{}", hex::encode(&hash[..4]))
}

/// Whether a hash is the stored one. It takes the same time wherever they differ.
#[must_use]
pub fn is_same(hash: &[u8; 32], stored: &[u8]) -> bool {
    hash.ct_eq(stored).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_prefix_and_checksum() {
        let key = ApiKey::generate([7; 32]);
        assert_eq!(key.as_str().len(), 4 + 64 + 8);
        assert_eq!(key.prefix(), "itk_07070707");
        assert_ne!(key.hash(), ApiKey::generate([8; 32]).hash());
    }

    #[test]
    fn a_hash_is_no_key() {
        let key = ApiKey::generate([7; 32]);
        assert_ne!(hash(&hex::encode(key.hash())), key.hash());
    }

    #[test]
    fn a_key_with_one_character_changed_is_broken() {
        let key = ApiKey::generate([7; 32]);
        assert_eq!(form(key.as_str()), Form::Own { prefix: "itk_07070707" });
        for at in MARK.len()..key.as_str().len() {
            let mut other = key.as_str().to_owned();
            other.replace_range(at..=at, if &other[at..=at] == "0" { "1" } else { "0" });
            assert_eq!(form(&other), Form::Broken, "{other}");
            assert_eq!(form(&key.as_str()[..at]), Form::Broken);
        }
        assert_eq!(form(&format!("{}0", key.as_str())), Form::Broken);
        let upper = ApiKey::generate([0xab; 32]).as_str().replace('b', "B");
        assert_eq!(form(&upper), Form::Broken);
        assert_eq!(form(&format!("itk_{}", "é".repeat(36))), Form::Broken, "no slice goes through a character");
        assert_eq!(form("api_key_698a1303-6856-469c-b245-218a2f8ddda7"), Form::Foreign);
        assert_eq!(form(""), Form::Foreign);
    }

    #[test]
    fn a_hash_is_the_same_as_itself_alone() {
        let hash = hash("key");
        assert!(is_same(&hash, &hash));
        for at in 0..hash.len() {
            let mut other = hash;
            other[at] ^= 1;
            assert!(!is_same(&hash, &other));
            assert!(!is_same(&hash, &hash[..at]));
        }
        assert_eq!(prefix_of_hash(&[0xab; 32]), "sha:abababab");
    }
}
