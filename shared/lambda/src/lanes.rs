//! Queues of one kind of work, by lane.

use crate::config::Environment;
use aws_config::SdkConfig;
use intake_aws::Queue;
use intake_domain::Dataset;
use intake_domain::dataset::Lane;

/// The queues of one kind of work.
#[derive(Clone)]
pub struct Lanes {
    urgent: Queue,
    bulk: Queue,
}

/// Where they are.
pub struct LaneUrls {
    /// Of what somebody waits for.
    pub urgent: String,
    /// Of the rest.
    pub bulk: String,
}

impl LaneUrls {
    /// Reads `{kind}_QUEUE_URL` and `URGENT_{kind}_QUEUE_URL`.
    pub fn read(environment: &mut Environment, kind: &str) -> Self {
        Self {
            urgent: environment.text(&format!("URGENT_{kind}_QUEUE_URL")),
            bulk: environment.text(&format!("{kind}_QUEUE_URL")),
        }
    }
}

impl Lanes {
    /// The queues at these URLs.
    #[must_use]
    pub fn new(config: &SdkConfig, urls: LaneUrls) -> Self {
        Self { urgent: Queue::new(config, urls.urgent), bulk: Queue::new(config, urls.bulk) }
    }

    /// The queue for work on rows of `dataset`.
    #[must_use]
    pub fn of(&self, dataset: &Dataset) -> &Queue {
        match dataset.lane {
            Lane::Urgent => &self.urgent,
            Lane::Bulk => &self.bulk,
        }
    }
}
