//! The id that everything has in the logs which one request brings about, in the form of AWS X-Ray.
//! <https://docs.aws.amazon.com/xray/latest/devguide/xray-api-sendingdata.html#xray-api-traceids>

use std::fmt;

/// Carries the id in a request and, as an attribute of another name, in a message.
pub const HEADER: &str = "x-amzn-trace-id";

/// A trace: `1-{8 hex digits}-{24 hex digits}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId {
    /// When it began, in seconds since 1970.
    seconds: u32,
    random: [u8; 12],
}

impl TraceId {
    /// A new one, with `random` bytes that were never used before.
    #[must_use]
    pub fn new(seconds: u32, random: [u8; 12]) -> Self {
        Self { seconds, random }
    }

    /// Reads an id; `None` for what is none, whoever sent it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, random) = text.strip_prefix("1-")?.split_once('-')?;
        let mut id = Self::new(0, [0; 12]);
        let mut bytes = [0; 4];
        hex::decode_to_slice(seconds, &mut bytes).ok()?;
        hex::decode_to_slice(random, &mut id.random).ok()?;
        Some(Self { seconds: u32::from_be_bytes(bytes), ..id })
    }

    /// Reads the id from a header: `Root=1-…;Parent=…;Sampled=1`, in any order.
    #[must_use]
    pub fn of_header(header: &str) -> Option<Self> {
        header.split(';').find_map(|field| Self::parse(field.trim().strip_prefix("Root=")?))
    }

    /// The header that carries it.
    #[must_use]
    pub fn header(self) -> String {
        format!("Root={self}")
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1-{:08x}-{}", self.seconds, hex::encode(self.random))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back() {
        let id = TraceId::new(0x5759_e988, [0xbd, 0x86, 0x2e, 0x3f, 0xe1, 0xbe, 0x46, 0xa9, 0x94, 0x27, 0x27, 0x93]);
        assert_eq!(id.to_string(), "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(TraceId::parse(&id.to_string()), Some(id));
        assert_eq!(TraceId::of_header(&id.header()), Some(id));
        assert_eq!(TraceId::of_header(&format!("Self=1-1-1; {};Sampled=1", id.header())), Some(id));
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in [
            "",
            "1-5759e988",
            "1-5759e988-bd86",
            "2-5759e988-bd862e3fe1be46a994272793",
            "1-x759e988-bd862e3fe1be46a994272793",
        ] {
            assert_eq!(TraceId::parse(text), None, "{text}");
            assert_eq!(TraceId::of_header(&format!("Root={text};Sampled=1")), None, "{text}");
        }
        assert_eq!(TraceId::of_header("1-5759e988-bd862e3fe1be46a994272793"), None);
    }
}
