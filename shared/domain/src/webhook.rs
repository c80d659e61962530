//! Webhooks: how a call is signed and verified, when it is tried again, and where it may go.
//!
//! Signatures are those of Standard Webhooks, <https://www.standardwebhooks.com>, so that a receiver can verify them with
//! a library that exists.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use url::{Host, Url};

/// What the text of a secret begins with, so that a scanner for leaked secrets recognises it.
const SECRET_PREFIX: &str = "whsec_";

/// What a signature begins with: the version of its algorithm.
const SIGNATURE_PREFIX: &str = "v1,";

/// How far the clocks of sender and receiver may be apart, delivery included.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The longest URL, in characters.
pub const MAX_URL: usize = 2048;

/// What both sides know: 24 to 64 bytes, shown as `whsec_` and Base64.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    keyed: Hmac<Sha256>,
}

/// Why bytes or a text are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The prefix is missing.
    #[error("a secret begins with `whsec_`")]
    Prefix,
    /// What follows the prefix is no Base64.
    #[error("what follows `whsec_` is not Base64")]
    Base64,
    /// Too short to be safe, or longer than anybody makes them.
    #[error("a secret has 24 to 64 bytes")]
    Length,
}

/// A secret is not for logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The header `webhook-id`, the same in every attempt: a receiver that has seen it drops the call.
    pub id: &'a str,
    /// The header `webhook-timestamp`: seconds since 1970, of this attempt.
    pub timestamp: u64,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Why a call is not to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It was sent longer ago than is tolerated: somebody may be repeating it.
    #[error("the timestamp is {0} s old")]
    TooOld(u64),
    /// It says that it comes from the future.
    #[error("the timestamp is {0} s ahead")]
    TooNew(u64),
    /// The list of signatures holds none of a version that is known.
    #[error("there is no signature of version v1")]
    NoSignature,
    /// The signature was made with another secret, or of another id, timestamp or body.
    #[error("no signature matches: another secret, id, timestamp or body was signed")]
    Mismatch,
}

impl Secret {
    /// The secret of these bytes.
    ///
    /// # Errors
    /// [`SecretError::Length`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretError> {
        if !(24..=64).contains(&bytes.len()) {
            return Err(SecretError::Length);
        }
        let keyed = Hmac::new_from_slice(bytes).map_err(|_| SecretError::Length)?;
        Ok(Self { bytes: bytes.to_vec(), keyed })
    }

    /// Reads [`text`](Self::text) back.
    ///
    /// # Errors
    /// Any [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(SECRET_PREFIX).ok_or(SecretError::Prefix)?;
        Self::new(&BASE64.decode(encoded).map_err(|_| SecretError::Base64)?)
    }

    /// As the receiver is told it. It is never logged.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{SECRET_PREFIX}{}", BASE64.encode(&self.bytes))
    }

    fn digest(&self, message: &Message<'_>) -> Hmac<Sha256> {
        let Message { id, timestamp, body } = message;
        self.keyed.clone().chain_update(format!("{id}.{timestamp}.")).chain_update(body)
    }

    /// The header `webhook-signature`.
    #[must_use]
    pub fn sign(&self, message: &Message<'_>) -> String {
        format!("{SIGNATURE_PREFIX}{}", BASE64.encode(self.digest(message).finalize().into_bytes()))
    }

    /// Verifies a call that came with `signatures`, a list separated by spaces while the sender changes its secret, at
    /// `now` in seconds since 1970. How long it takes tells nothing of how much of a signature was right.
    ///
    /// # Errors
    /// Why it is not to be trusted.
    pub fn verify(
        &self,
        message: &Message<'_>,
        signatures: &str,
        now: u64,
        tolerance: Duration,
    ) -> Result<(), VerifyError> {
        let (age, lead) = (now.saturating_sub(message.timestamp), message.timestamp.saturating_sub(now));
        if age > tolerance.as_secs() {
            return Err(VerifyError::TooOld(age));
        }
        if lead > tolerance.as_secs() {
            return Err(VerifyError::TooNew(lead));
        }
        let mut known = signatures.split(' ').filter_map(|one| one.strip_prefix(SIGNATURE_PREFIX)).peekable();
        if known.peek().is_none() {
            return Err(VerifyError::NoSignature);
        }
        let matches = |encoded: &str| {
            BASE64.decode(encoded).is_ok_and(|signature| self.digest(message).verify_slice(&signature).is_ok())
        };
        if known.any(matches) { Ok(()) } else { Err(VerifyError::Mismatch) }
    }
}

/// How long after each attempt the next one is made, in seconds; the first is made at once. As Svix does it,
/// <https://docs.svix.com/retries>: a receiver may be away for more than a day.
const PAUSES: [u64; 7] = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600];

/// How long to wait after `attempts` attempts that failed; `None` when it is not tried again. `jitter`, from 0 to 1,
/// scatters the pause by a tenth to either side, so that calls that failed together do not come back together.
#[must_use]
pub fn pause_after(attempts: u32, jitter: f64) -> Option<Duration> {
    let at = usize::try_from(attempts).ok()?.checked_sub(1)?;
    let pause = PAUSES.get(at).copied().map(Duration::from_secs)?;
    Some(pause.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0)))
}

/// Why nobody is called at a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It has more than [`MAX_URL`] characters.
    #[error("a URL has at most {MAX_URL} characters")]
    TooLong,
    /// It is no URL.
    #[error("not a URL: {0}")]
    Unreadable(#[from] url::ParseError),
    /// White space or control characters, which a parser would drop in silence.
    #[error("a URL has no white space and no control characters")]
    Blank,
    /// Something else than HTTPS.
    #[error("the URL must begin with https://")]
    Scheme,
    /// A user name or password, which would be kept and shown.
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    /// A fragment, which is never sent.
    #[error("the URL must not have a fragment")]
    Fragment,
    /// A port of another service.
    #[error("port {0} is not called: use 443, or 1024 and above")]
    Port(u16),
    /// A name that only a local network knows.
    #[error("the host `{0}` is no public name")]
    LocalName(String),
    /// An address that is not on the public internet.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// An address that nobody on the public internet can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} is not public: {range}")]
pub struct AddressError {
    /// The address.
    pub address: IpAddr,
    /// What it is for.
    pub range: &'static str,
}

/// Whether the deployment allows a host, as a URL writes it, to be called wherever it is and over plain HTTP. Only the
/// exact name counts: `localhost` does not allow 127.0.0.1.
#[must_use]
pub fn is_allowed(host: &str, allowed_hosts: &[String]) -> bool {
    allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
}

/// Reads where to call, and refuses what nobody is called at. What a name resolves to is known only when it is called:
/// hold each of its addresses against [`check_address`] then, unless [`is_allowed`].
///
/// # Errors
/// Why nobody is called there.
pub fn check_url(text: &str, allowed_hosts: &[String]) -> Result<Url, UrlError> {
    if text.chars().any(|char| char.is_whitespace() || char.is_control()) {
        return Err(UrlError::Blank);
    }
    let url = Url::parse(text)?;
    if text.len().max(url.as_str().len()) > MAX_URL {
        return Err(UrlError::TooLong);
    }
    let is_allowed = is_allowed(url.host_str().unwrap_or_default(), allowed_hosts);
    if !(url.scheme() == "https" || (url.scheme() == "http" && is_allowed)) {
        return Err(UrlError::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlError::Fragment);
    }
    if is_allowed {
        return Ok(url);
    }
    if let Some(port) = url.port().filter(|port| *port < 1024) {
        return Err(UrlError::Port(port));
    }
    match url.host() {
        Some(Host::Ipv4(address)) => check_address(address.into())?,
        Some(Host::Ipv6(address)) => check_address(address.into())?,
        Some(Host::Domain(name)) if is_local(name) => return Err(UrlError::LocalName(name.to_owned())),
        Some(Host::Domain(_)) => {}
        None => return Err(UrlError::Unreadable(url::ParseError::EmptyHost)),
    }
    Ok(url)
}

/// Whether only a local network can know a name: one without a dot, or under one of the names kept for that.
/// <https://www.iana.org/assignments/special-use-domain-names>
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let under = |top: &str| name.strip_suffix(top).is_some_and(|rest| rest.ends_with('.'));
    !name.contains('.') || ["localhost", "local", "internal", "home.arpa"].into_iter().any(under)
}

/// Addresses of IPv4 that are not globally reachable: network, length of its prefix, what it is for. The first that fits
/// is said.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const NOT_PUBLIC_V4: [(Ipv4Addr, u32, &str); 17] = [
    (Ipv4Addr::UNSPECIFIED, 32, "unspecified"),
    (Ipv4Addr::BROADCAST, 32, "broadcast"),
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a provider's customers"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "relays from IPv6"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// Addresses of IPv6 that are not globally reachable, the same way. They come before [`GLOBAL_V6`], outside of which
/// nothing is.
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const NOT_PUBLIC_V6: [(Ipv6Addr, u32, &str); 16] = [
    (Ipv6Addr::UNSPECIFIED, 128, "unspecified"),
    (Ipv6Addr::LOCALHOST, 128, "loopback"),
    (Ipv6Addr::UNSPECIFIED, 96, "IPv4 in another form"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "IPv4 in another form"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "translation within a network"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "a Teredo tunnel"),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "protocol assignments"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "a 6to4 tunnel"),
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16, "given back"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "private"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast"),
];

/// All global addresses of IPv6 that have been given out. <https://www.iana.org/assignments/ipv6-address-space>
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Forms in which an address of IPv6 stands for the one of IPv4 in its last 32 bits: mapped (RFC 4291), and translated
/// by NAT64 (RFC 6052), which is how a network without IPv4 reaches the rest of the world.
const STANDS_FOR_V4: [(Ipv6Addr, u32); 2] =
    [(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96)];

/// Refuses an address that is not globally reachable. One of IPv6 that stands for one of IPv4 is judged by that; tunnels
/// that carry one are refused, because nobody is called there.
///
/// # Errors
/// What it is for.
pub fn check_address(address: IpAddr) -> Result<(), AddressError> {
    let range = match address {
        IpAddr::V4(v4) => not_public_v4(v4),
        IpAddr::V6(v6) => not_public_v6(v6),
    };
    range.map_or(Ok(()), |range| Err(AddressError { address, range }))
}

fn not_public_v4(address: Ipv4Addr) -> Option<&'static str> {
    let holds = |network: Ipv4Addr, length: u32| (address.to_bits() ^ network.to_bits()).leading_zeros() >= length;
    NOT_PUBLIC_V4.iter().find(|(network, length, _)| holds(*network, *length)).map(|(.., range)| *range)
}

fn not_public_v6(address: Ipv6Addr) -> Option<&'static str> {
    let holds = |network: Ipv6Addr, length: u32| (address.to_bits() ^ network.to_bits()).leading_zeros() >= length;
    if STANDS_FOR_V4.iter().any(|(network, length)| holds(*network, *length)) {
        let [.., a, b, c, d] = address.octets();
        return not_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    let range = NOT_PUBLIC_V6.iter().find(|(network, length, _)| holds(*network, *length)).map(|(.., range)| *range);
    range.or((!holds(GLOBAL_V6.0, GLOBAL_V6.1)).then_some("not given out"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_674_087_231;

    fn secret() -> Secret {
        Secret::new(&[7; 32]).unwrap()
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // what the libraries of Standard Webhooks hold themselves against
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let message = Message { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: 1_614_265_330, body };
        assert_eq!(secret.sign(&message), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(secret.text(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    #[test]
    fn a_text_that_is_no_secret_is_told_why() {
        let error = |text: &str| Secret::parse(text).unwrap_err();
        assert_eq!(error("C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), SecretError::Prefix);
        assert_eq!(error("whsec_?"), SecretError::Base64);
        assert_eq!(error("whsec_AAAA"), SecretError::Length);
        assert_eq!(format!("{:?}", secret()), "Secret(…)");
    }

    #[test]
    fn a_call_is_trusted_within_five_minutes_either_way() {
        let message = Message { id: "1", timestamp: NOW, body: b"{}" };
        let signature = secret().sign(&message);
        let at = |now| secret().verify(&message, &signature, now, TOLERANCE);
        assert_eq!((at(NOW), at(NOW + 300), at(NOW - 300)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(at(NOW + 301), Err(VerifyError::TooOld(301)));
        assert_eq!(at(NOW - 301), Err(VerifyError::TooNew(301)));
    }

    #[test]
    fn one_good_signature_of_several_is_enough() {
        let message = Message { id: "1", timestamp: NOW, body: b"{}" };
        let verify = |signatures: &str| secret().verify(&message, signatures, NOW, TOLERANCE);
        let (good, other) = (secret().sign(&message), Secret::new(&[8; 32]).unwrap().sign(&message));
        assert_eq!(verify(&format!("{other} v1a,AAAA {good}")), Ok(()));
        assert_eq!(verify(&other), Err(VerifyError::Mismatch));
        assert_eq!(verify("v1,"), Err(VerifyError::Mismatch));
        assert_eq!(verify("v1,no base64"), Err(VerifyError::Mismatch));
        assert_eq!(verify(&good["v1,".len()..]), Err(VerifyError::NoSignature));
        assert_eq!(verify(""), Err(VerifyError::NoSignature));
    }

    #[test]
    fn a_call_is_tried_again_for_more_than_a_day() {
        let pauses: Vec<_> = (0..10).map(|attempts| pause_after(attempts, 0.5).map(|pause| pause.as_secs())).collect();
        let expected = [5, 300, 1_800, 7_200, 18_000, 36_000, 36_000].map(Some);
        assert_eq!(pauses[0], None, "the first is not waited for");
        assert_eq!(pauses[1..8], expected);
        assert_eq!(pauses[8..], [None, None]);
    }

    #[test]
    fn a_url_is_taken_or_told_what_is_wrong() {
        let check = |text: &str| check_url(text, &hosts(&["localhost"])).map(String::from);
        for (text, taken) in [
            ("https://example.org/hook?shop=1", "https://example.org/hook?shop=1"),
            ("https://EXAMPLE.org:443", "https://example.org/"),
            ("https://example.org:8443/", "https://example.org:8443/"),
            ("https://93.184.215.14/", "https://93.184.215.14/"),
            ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/", "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/"),
            ("http://localhost:81/hook", "http://localhost:81/hook"),
            ("https://LOCALHOST/", "https://localhost/"),
        ] {
            assert_eq!(check(text), Ok(taken.to_owned()), "{text}");
        }
        let local = |name: &str| UrlError::LocalName(name.to_owned());
        for (text, error) in [
            ("http://example.org/", UrlError::Scheme),
            ("http://127.0.0.1/", UrlError::Scheme),
            ("ftp://localhost/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https://user@example.org/", UrlError::UserInfo),
            ("https://:word@example.org/", UrlError::UserInfo),
            ("http://user@localhost/", UrlError::UserInfo),
            ("https://example.org/#part", UrlError::Fragment),
            ("https://example.org:25/", UrlError::Port(25)),
            ("https://example.org:80/", UrlError::Port(80)),
            ("https://example.org/\n", UrlError::Blank),
            (" https://example.org/", UrlError::Blank),
            ("example.org", UrlError::Unreadable(url::ParseError::RelativeUrlWithoutBase)),
            ("https://", UrlError::Unreadable(url::ParseError::EmptyHost)),
            ("https://localhost./", local("localhost.")),
            ("https://intranet/", local("intranet")),
            ("https://a.localhost/", local("a.localhost")),
            ("https://metadata.google.internal/", local("metadata.google.internal")),
        ] {
            assert_eq!(check(text), Err(error), "{text}");
        }
        assert_eq!(check(&format!("https://example.org/{}", "x".repeat(MAX_URL))), Err(UrlError::TooLong));
        // what it becomes is what is stored
        assert_eq!(check(&format!("https://example.org/{}", "é".repeat(900))), Err(UrlError::TooLong));
    }

    #[test]
    fn an_address_in_any_spelling_is_held_against_the_ranges() {
        for text in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://0x7f000001/",
            "https://017700000001/",
            "https://2130706433/",
            "https://127.0.0.1./",
            "https://１２７.0.0.1/",
            "https://169.254.169.254/latest/meta-data/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::a00:1]/",
            "https://[fd00:ec2::254]/",
        ] {
            assert!(matches!(check_url(text, &[]), Err(UrlError::Address(_))), "{text}: {:?}", check_url(text, &[]));
        }
        assert!(check_url("http://127.0.0.1:8000/", &hosts(&["127.0.0.1"])).is_ok(), "allowed as it is written");
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_called() {
        let check = |text: &str| check_address(text.parse().unwrap()).map_err(|error| error.range);
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
        ] {
            assert_eq!(check(public), Ok(()), "{public}");
        }
        for (refused, range) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "this network"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "shared by a provider's customers"),
            ("100.127.255.255", "shared by a provider's customers"),
            ("127.255.255.255", "loopback"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.0", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.1", "protocol assignments"),
            ("192.0.2.255", "documentation"),
            ("192.88.99.1", "relays from IPv6"),
            ("192.168.0.1", "private"),
            ("198.18.0.0", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.1", "documentation"),
            ("203.0.113.1", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.0", "reserved"),
            ("255.255.255.254", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::7f00:1", "IPv4 in another form"),
            ("::ffff:10.0.0.1", "private"),
            ("::ffff:0:10.0.0.1", "IPv4 in another form"),
            ("64:ff9b::169.254.169.254", "link-local"),
            ("64:ff9b:1::1.1.1.1", "translation within a network"),
            ("100::1", "discarded"),
            ("2001::1", "a Teredo tunnel"),
            ("2001:2::1", "protocol assignments"),
            ("2001:20::1", "protocol assignments"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "a 6to4 tunnel"),
            ("3ffe::1", "given back"),
            ("3fff:fff::1", "documentation"),
            ("4000::1", "not given out"),
            ("5f00::1", "not given out"),
            ("fc00::1", "private"),
            ("fdff::1", "private"),
            ("fe80::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            assert_eq!(check(refused), Err(range), "{refused}");
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_nothing_else(
            bytes in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[a-z0-9-]{1,40}",
            timestamp in 0..u64::MAX,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let secret = Secret::new(&bytes).unwrap();
            let message = Message { id: &id, timestamp, body: &body };
            let signature = secret.sign(&message);
            let verify = |secret: &Secret, message: &Message<'_>| {
                secret.verify(message, &signature, message.timestamp, TOLERANCE)
            };
            prop_assert_eq!(verify(&Secret::parse(&secret.text()).unwrap(), &message), Ok(()));
            let flip = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                bytes
            };
            prop_assert!(verify(&Secret::new(&flip(&bytes)).unwrap(), &message).is_err());
            let other = verify(&secret, &Message { timestamp: timestamp ^ (1 << bit), ..message });
            prop_assert_eq!(other, Err(VerifyError::Mismatch));
            let other = verify(&secret, &Message { id: &format!("{id}0"), ..message });
            prop_assert_eq!(other, Err(VerifyError::Mismatch));
            if !body.is_empty() {
                let other = verify(&secret, &Message { body: &flip(&body), ..message });
                prop_assert_eq!(other, Err(VerifyError::Mismatch));
            }
        }

        #[test]
        fn no_signature_and_no_url_is_too_strange(text in any::<String>(), host in any::<String>()) {
            let _ = secret().verify(&Message { id: "1", timestamp: NOW, body: b"" }, &text, NOW, TOLERANCE);
            let _ = Secret::parse(&text);
            let _ = check_url(&text, &[]);
            if let Ok(url) = check_url(&format!("https://{host}"), &[]) {
                prop_assert_eq!(url.scheme(), "https");
                // what is stored is read again before each call, and must then mean the same
                prop_assert_eq!(check_url(url.as_str(), &[]), Ok(url));
            }
        }

        #[test]
        fn an_address_that_carries_a_refused_one_is_refused(bits in any::<u32>()) {
            let inner = check_address(Ipv4Addr::from_bits(bits).into());
            let low = u128::from(bits);
            for carrier in [0xffff << 32 | low, 0x64_ff9b << 96 | low] {
                prop_assert_eq!(check_address(Ipv6Addr::from_bits(carrier).into()).is_ok(), inner.is_ok());
            }
            for tunnel in [low, 0xffff << 48 | low, 0x2002 << 112 | low << 80, 0x2001 << 112 | (low ^ 0xffff_ffff)] {
                prop_assert!(check_address(Ipv6Addr::from_bits(tunnel).into()).is_err());
            }
        }

        #[test]
        fn a_pause_stays_near_the_schedule(attempts in 1..8_u32, jitter in any::<f64>()) {
            let (pause, middle) = (pause_after(attempts, jitter).unwrap(), pause_after(attempts, 0.5).unwrap());
            prop_assert!(pause >= middle.mul_f64(0.89) && pause <= middle.mul_f64(1.11));
        }
    }
}
