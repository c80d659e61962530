//! Which work a dead letter is about.

use intake_aws::messages::{DeliverWebhook, LoadChunk, ObjectCreated, PromoteFile, RefreshMetrics, RunExport};

/// A dead letter.
#[derive(Debug)]
pub(crate) enum Letter {
    /// An object that landed.
    Upload(ObjectCreated),
    /// A chunk to load.
    Chunk(LoadChunk),
    /// A file to promote.
    Promotion(PromoteFile),
    /// A shop to call.
    Webhook(DeliverWebhook),
    /// A file to write.
    Export(RunExport),
    /// Days to count.
    Metrics(RefreshMetrics),
}

impl Letter {
    /// The kind of work.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Upload(_) => "Upload",
            Self::Chunk(_) => "Chunk",
            Self::Promotion(_) => "Promotion",
            Self::Webhook(_) => "Webhook",
            Self::Export(_) => "Export",
            Self::Metrics(_) => "Metrics",
        }
    }

    /// Tells by its fields what a message is; `None` when it is of no kind that is known.
    pub(crate) fn read(body: &str) -> Option<Self> {
        fn read<T: for<'de> serde::Deserialize<'de>>(body: &str) -> Option<T> {
            serde_json::from_str(body).ok()
        }
        // a chunk names its file too
        read(body)
            .map(Self::Chunk)
            .or_else(|| read(body).map(Self::Promotion))
            .or_else(|| read(body).map(Self::Webhook))
            .or_else(|| read(body).map(Self::Export))
            .or_else(|| read(body).map(Self::Metrics))
            .or_else(|| read(body).filter(|read: &ObjectCreated| read.keys().next().is_some()).map(Self::Upload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_told_from_the_others() {
        let id = "00000000-0000-4000-8000-000000000000";
        let of = |fields: &str| Letter::read(&format!("{{\"tenant_id\": \"{id}\", {fields}}}"));
        assert!(matches!(of(&format!("\"file_id\": \"{id}\", \"chunk_index\": 3")), Some(Letter::Chunk(_))));
        assert!(matches!(of(&format!("\"file_id\": \"{id}\"")), Some(Letter::Promotion(_))));
        assert!(matches!(of(&format!("\"webhook_id\": \"{id}\"")), Some(Letter::Webhook(_))));
        assert!(matches!(of(&format!("\"export_id\": \"{id}\"")), Some(Letter::Export(_))));
        let metrics = Letter::read(&format!("{{\"tenant_id\": \"{id}\"}}"));
        assert!(matches!(metrics, Some(Letter::Metrics(_))), "{metrics:?}");
        let upload = Letter::read("{\"Records\": [{\"s3\": {\"object\": {\"key\": \"tenants/a\"}}}]}");
        assert!(matches!(upload, Some(Letter::Upload(_))), "{upload:?}");
        for other in ["", "{}", "[]", "{\"tenant_id\": 7}", "{\"Event\": \"s3:TestEvent\"}"] {
            assert!(Letter::read(other).is_none(), "{other}");
        }
    }
}
