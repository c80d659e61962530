//! How queues and functions are joined, for tests that need it otherwise for a while.

use super::Ground;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How long what a dead function held stays hidden while functions are being killed, in seconds: the shortest there is.
/// Outside of tests it is six times the longest run.
const HIDDEN_SECONDS: &str = "1";

/// How many workers a queue then has, so that one which is asleep holds up nobody.
const WORKERS: u64 = 6;

impl Ground {
    /// The mappings of queues to functions: id, queue, and what else is known.
    async fn event_sources(&self) -> Result<Vec<Value>> {
        let url = format!("{}/2015-03-31/event-source-mappings/", self.endpoints.aws_url);
        let listed: Value = self.http.get(url).send().await?.json().await?;
        Ok(listed["EventSourceMappings"].as_array().context("a list of event sources")?.clone())
    }

    async fn change(&self, source: &Value, change: &Value) -> Result<()> {
        let id = source["UUID"].as_str().context("an id")?;
        let url = format!("{}/2015-03-31/event-source-mappings/{id}", self.endpoints.aws_url);
        let answer = self.http.put(url).body(change.to_string()).send().await?;
        ensure!(answer.status().is_success(), "{}", answer.text().await?);
        Ok(())
    }

    /// Whether dead letters are taken from their queues and written into the ledger. Unless a test is about that they
    /// stay there, so that every test can see that there are none.
    pub(crate) async fn record_dead_letters(&self, enabled: bool) -> Result<()> {
        for source in self.event_sources().await? {
            if source["EventSourceArn"].as_str().is_some_and(|queue| queue.contains("DeadLetters")) {
                self.change(&source, &json!({ "Enabled": enabled })).await?;
            }
        }
        Ok(())
    }

    /// Runs `work` while messages come back soon, queues have many workers, and dead letters are recorded.
    pub(crate) async fn hurried<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let soon = self.endpoints.queues.keys().map(|queue| (queue.clone(), HIDDEN_SECONDS.to_owned()));
        let before = self.hide_for(&soon.collect::<BTreeMap<_, _>>()).await?;
        let sources = self.event_sources().await?;
        for source in &sources {
            self.change(source, &json!({"Enabled": true, "ScalingConfig": {"MaximumConcurrency": WORKERS}})).await?;
        }
        let done = work.await;
        for source in &sources {
            // what comes from a parameter of the template is text
            let workers = &source["ScalingConfig"]["MaximumConcurrency"];
            let workers = workers.as_u64().or_else(|| workers.as_str()?.parse().ok()).context("how many workers")?;
            let scaling = json!({"MaximumConcurrency": workers});
            self.change(source, &json!({"Enabled": source["State"] == "Enabled", "ScalingConfig": scaling})).await?;
        }
        self.hide_for(&before).await?;
        done
    }
}
