//! Why a file ended without its rows being in: the stable codes.

macro_rules! failures {
    ($($variant:ident = $code:literal, $resumable:literal: $meaning:literal;)*) => {
        /// A stable code for one way in which a file can end. Codes are never renamed or reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failure {
            $(#[doc = $meaning] $variant,)*
        }

        impl Failure {
            /// Every code with its meaning.
            pub const ALL: &[(Self, &'static str)] = &[$((Self::$variant, $meaning),)*];

            /// The code as stored and shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            /// Whether `resume` lets the file go on: its object is whole, and what failed may not fail again.
            #[must_use]
            pub fn is_resumable(self) -> bool {
                match self {
                    $(Self::$variant => $resumable,)*
                }
            }
        }
    };
}

failures! {
    NeverArrived = "NEVER_ARRIVED", false: "The file was declared but not uploaded within the seven days of its session.";
    SizeMismatch = "SIZE_MISMATCH", false: "The object has another size than was declared.";
    ChecksumMismatch = "CHECKSUM_MISMATCH", false: "The object's SHA-256 is not the declared one.";
    ObjectReplaced = "OBJECT_REPLACED", false: "Another object was uploaded in the file's place after the first had arrived.";
    FormatMismatch = "FORMAT_MISMATCH", false: "The bytes are not what the name says: compressed another way, or not at all.";
    InvalidHeader = "INVALID_HEADER", false: "The first record of a CSV file names no column of the dataset, names one twice, or lacks a required one.";
    CorruptCompression = "CORRUPT_COMPRESSION", false: "The compressed data is damaged or cut off.";
    UnpackedTooLarge = "UNPACKED_TOO_LARGE", false: "The file unpacks to more than 20 GiB.";
    SuspiciousCompression = "SUSPICIOUS_COMPRESSION", false: "The file unpacks to more than 250 times its size.";
    TooManyRejects = "TOO_MANY_REJECTS", false: "More rows were refused than `max_rejects` or `on_error` allows; nothing of the file was promoted.";
    PlanningFailed = "PLANNING_FAILED", true: "The file could not be cut into chunks in five tries.";
    LoadingFailed = "LOADING_FAILED", true: "A chunk could not be read and staged in five tries.";
    PromotionFailed = "PROMOTION_FAILED", true: "The file could not be promoted in five tries; what was promoted stays.";
    PromotionRefused = "PROMOTION_REFUSED", false: "PostgreSQL refused a row that validation had let through; what was promoted stays.";
    DeadLetter = "DEAD_LETTER", true: "The work on the file ended five times without an answer: out of memory, out of time, or a crash.";
    Stalled = "STALLED", false: "The file did not get on within the seven days of its session; what was promoted stays.";
}

impl Failure {
    /// Reads [`as_str`](Self::as_str) back.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().map(|(failure, _)| *failure).find(|failure| failure.as_str() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_back() {
        for (failure, _) in Failure::ALL {
            assert_eq!(Failure::parse(failure.as_str()), Some(*failure));
        }
    }
}
