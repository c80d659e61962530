//! API keys: how they look, and the hash by which they are known.

use sha2::{Digest, Sha256};

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
        let checksum = hex::encode(&Sha256::digest(body.as_bytes())[..4]);
        Self(format!("itk_{body}{checksum}"))
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

    /// The first characters, by which an operator tells keys apart; they hold 32 of the 256 random bits.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0[..12]
    }
}

/// SHA-256 of a key as a client sends it.
///
/// A stored hash sent as a key is hashed once more and so never matches itself.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
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
}
