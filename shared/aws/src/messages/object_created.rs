//! An object was created in the bucket, as S3 says it.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>

use serde::{Deserialize, Serialize};

/// What of S3's notification matters. The test message that S3 sends first has no records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ObjectCreated {
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    s3: Entity,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entity {
    object: Object,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Object {
    key: String,
}

impl ObjectCreated {
    /// What S3 says of the object under this key, for when its own message may be lost.
    #[must_use]
    pub fn of(key: String) -> Self {
        Self { records: vec![Record { s3: Entity { object: Object { key } } }] }
    }

    /// The keys that it names, as they came: S3 encodes them.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.records.iter().map(|record| record.s3.object.key.as_str())
    }
}
