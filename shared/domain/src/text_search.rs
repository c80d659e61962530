//! Finding a text within names and e-mail addresses, in whatever case, by the three-letter pieces that both have.
//!
//! What is looked for in is the [`Contact`] of an order: the name and the address that it has of its customer. Its tokens
//! stand in an index; a contact that contains a text has all tokens of the text, so what has them is looked at, and nothing
//! else. Texts are folded first: each character in its lower, then its upper, then its lower case, so that `ẞ` is
//! like `ss`.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use uuid::Uuid;

/// How many characters a piece has.
const PIECE: usize = 3;

/// A text as it is compared.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The name and the e-mail address that an order has of its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The name.
    pub name: Option<&'a str>,
    /// The e-mail address.
    pub email: Option<&'a str>,
}

impl Contact<'_> {
    /// Its number: 64 bits of a SHA-256 over both, the same for every order of the same name and address. It is none of
    /// another tenant's business, so that a number says nothing outside of its tenant.
    #[must_use]
    pub fn number(&self, tenant: Uuid) -> i64 {
        let mut digest = Sha256::new_with_prefix(tenant.as_bytes());
        for text in [self.name, self.email] {
            match text {
                None => digest.update([0]),
                Some(text) => {
                    digest.update([1]);
                    digest.update((text.len() as u64).to_be_bytes());
                    digest.update(text);
                }
            }
        }
        first_bits(&digest.finalize())
    }

    /// The tokens of its folded texts, sorted, each once.
    #[must_use]
    pub fn tokens(&self, tenant: Uuid) -> Vec<i64> {
        let mut tokens = BTreeSet::new();
        for text in [self.name, self.email].into_iter().flatten() {
            tokens.extend(pieces(tenant, &fold(text)));
        }
        tokens.into_iter().collect()
    }
}

/// A text that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle {
    folded: String,
}

impl Needle {
    /// That text, in whatever case.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { folded: fold(text) }
    }

    /// As it is compared.
    #[must_use]
    pub fn folded(&self) -> &str {
        &self.folded
    }

    /// The tokens that a contact which contains it has, sorted, each once; none of a text that is shorter than a piece.
    #[must_use]
    pub fn tokens(&self, tenant: Uuid) -> Vec<i64> {
        pieces(tenant, &self.folded).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether the name or the address contains it.
    #[must_use]
    pub fn is_in(&self, contact: Contact<'_>) -> bool {
        let has = |text: Option<&str>| text.is_some_and(|text| fold(text).contains(&self.folded));
        has(contact.name) || has(contact.email)
    }
}

/// The tokens of a folded text: a number for each of its pieces. The tenant is in it, so that an index over all tenants
/// holds apart what is whose.
fn pieces(tenant: Uuid, folded: &str) -> impl Iterator<Item = i64> {
    let (high, low) = tenant.as_u64_pair();
    let starts: Vec<_> = folded.char_indices().map(|(at, _)| at).chain([folded.len()]).collect();
    let count = starts.len().saturating_sub(PIECE);
    let bytes = folded.as_bytes().to_vec();
    (0..count).map(move |at| {
        let piece = &bytes[starts[at]..starts[at + PIECE]];
        // a piece has at most twelve bytes: they fit into the two words with room for their number
        let mut words = [0_u8; 16];
        words[..piece.len()].copy_from_slice(piece);
        let word = u128::from_be_bytes(words);
        let state = mix(high ^ (word >> 64) as u64);
        mix(state ^ low ^ (word as u64).rotate_left(17)).cast_signed()
    })
}

/// The finalizer of SplitMix64: every bit of what goes in changes half of what comes out.
/// <https://prng.di.unimi.it/splitmix64.c>
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

fn first_bits(digest: &[u8]) -> i64 {
    let mut bits = [0; 8];
    bits.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TENANT: Uuid = Uuid::from_u128(7);

    fn contact<'a>(name: &'a str, email: &'a str) -> Contact<'a> {
        Contact { name: Some(name), email: Some(email) }
    }

    #[test]
    fn case_makes_no_difference() {
        let ada = contact("Ada Groß", "ADA@Example.org");
        for text in ["ada", "ADA", "gross", "GROẞ", "a@ex", ".org", "a G"] {
            assert!(Needle::new(text).is_in(ada), "{text}");
        }
        for text in ["adam", "großa", "oß ada", "groß\u{0}ada"] {
            assert!(!Needle::new(text).is_in(ada), "{text}: nothing lies across both");
        }
        assert!(Needle::new("ΣΊΣΥΦΟΣ").is_in(contact("Σίσυφος", "")));
        assert!(!Needle::new("a").is_in(Contact { name: None, email: None }));
    }

    #[test]
    fn a_number_tells_contacts_and_tenants_apart() {
        let ada = contact("Ada", "a@x");
        assert_eq!(ada.number(TENANT), contact("Ada", "a@x").number(TENANT));
        assert_ne!(ada.number(TENANT), ada.number(Uuid::from_u128(8)));
        assert_ne!(ada.number(TENANT), contact("ada", "a@x").number(TENANT));
        assert_ne!(contact("ab", "c").number(TENANT), contact("a", "bc").number(TENANT));
        let (none, empty) = (Contact { name: None, email: None }, contact("", ""));
        assert_ne!(none.number(TENANT), empty.number(TENANT));
        assert_ne!(Needle::new("ada").tokens(TENANT), Needle::new("ada").tokens(Uuid::from_u128(8)));
        assert_eq!(Needle::new("ad").tokens(TENANT), Vec::<i64>::new());
        assert_eq!(contact("Adadada", "ADA").tokens(TENANT).len(), 2, "ada and dad");
    }

    proptest! {
        #[test]
        fn what_contains_a_text_has_its_tokens(before in ".{0,9}", text in ".{0,9}", after in ".{0,9}", upper: bool) {
            let name = format!("{before}{text}{after}");
            let needle = Needle::new(&if upper { text.to_uppercase() } else { text });
            let contact = contact(&name, "");
            prop_assert!(needle.is_in(contact));
            let tokens = contact.tokens(TENANT);
            prop_assert!(needle.tokens(TENANT).iter().all(|token| tokens.binary_search(token).is_ok()));
        }
    }
}
