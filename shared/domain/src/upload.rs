//! How a file of a given size is uploaded.

/// S3 takes at most 10,000 parts; fewer keep the answer with their URLs small.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
pub const MAX_PARTS: u64 = 1_000;

/// The largest file, in bytes: 100 GiB.
pub const MAX_FILE_BYTES: u64 = 100 << 30;

/// The most files in one session.
pub const MAX_FILES: usize = 500;

/// The most parts over all files of one session: with temporary credentials a URL has up to 2 KB, and all must fit into
/// one answer of at most 6 MB.
pub const MAX_SESSION_PARTS: u64 = 2_000;

/// The largest file whose SHA-256 may be declared, in bytes: 20 GiB. The object is read through once to check it, in one
/// invocation.
pub const MAX_HASHED_BYTES: u64 = 20 << 30;

/// The way a file takes into the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadPlan {
    /// One PUT.
    Single,
    /// So many parts of this many bytes each, the last one of what remains.
    Parts {
        /// Bytes of every part but the last.
        part_bytes: u64,
        /// How many parts.
        count: u64,
    },
}

impl UploadPlan {
    /// The plan for a file of `size_bytes`: one PUT up to `part_bytes`, above it parts of `part_bytes`, or of as much
    /// more, in whole MiB, as [`MAX_PARTS`] asks for.
    #[must_use]
    pub fn new(size_bytes: u64, part_bytes: u64) -> Self {
        if size_bytes <= part_bytes {
            return Self::Single;
        }
        let least = size_bytes.div_ceil(MAX_PARTS);
        let part_bytes = if least <= part_bytes { part_bytes } else { least.next_multiple_of(1 << 20) };
        Self::Parts { part_bytes, count: size_bytes.div_ceil(part_bytes) }
    }

    /// How many requests with a body the upload takes.
    #[must_use]
    pub fn parts(self) -> u64 {
        match self {
            Self::Single => 1,
            Self::Parts { count, .. } => count,
        }
    }
}

/// The size in bytes of part `number` (1-based) of a file of `size_bytes`.
#[must_use]
pub fn part_size(size_bytes: u64, part_bytes: u64, number: u64) -> u64 {
    part_bytes.min(size_bytes - (number - 1) * part_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_add_up_to_the_file(size in 1_u64..MAX_FILE_BYTES, part in (5_u64 << 20)..(64 << 20)) {
            match UploadPlan::new(size, part) {
                UploadPlan::Single => prop_assert!(size <= part),
                UploadPlan::Parts { part_bytes, count } => {
                    prop_assert!(count <= MAX_PARTS && part_bytes >= part);
                    let sum: u64 = (1..=count).map(|number| part_size(size, part_bytes, number)).sum();
                    prop_assert_eq!(sum, size);
                }
            }
        }
    }
}
