//! One attempt after another, by the schedule.

use crate::call::{Caller, Outcome};
use crate::event::Event;
use intake_aws::Queue;
use intake_aws::messages::DeliverWebhook;
use intake_domain::webhook::{Message, Secret, pause_after};
use intake_lambda::batch::{Retry, describe};
use intake_lambda::telemetry::milliseconds;
use intake_lambda::time::epoch_seconds;
use intake_lambda::{fail_point, trace};
use intake_postgres::webhooks::{self, Attempt, Delivery, Loaded, Next};
use intake_postgres::{Database, Scope};
use std::time::{Duration, SystemTime};

/// With this answer a receiver says that it wants no more of it.
const GONE: u16 = 410;

/// What the function works with.
pub(crate) struct Worker {
    pub(crate) database: Database,
    pub(crate) webhooks: Queue,
    pub(crate) caller: Caller,
}

impl Worker {
    /// Handles one message: makes the attempt that is due and sends the message of the next one, or puts the message off.
    /// Run again after it was cut off it may call again, under the same id.
    pub(crate) async fn handle(&self, body: &str) -> Result<(), Retry> {
        match read_message(body) {
            Some(message) => self.deliver(message).await,
            None => Ok(()),
        }
    }

    async fn deliver(&self, message: DeliverWebhook) -> Result<(), Retry> {
        trace::about("tenant_id", message.tenant_id);
        trace::about("webhook_id", message.webhook_id);
        let random = random()?;
        let read_secret = async |scope: &mut Scope<'_>| webhooks::signing_secret(scope, random).await;
        let Some(secret) = self.database.run("signing_secret", message.tenant_id, read_secret).await? else {
            tracing::error!("message names a tenant that does not exist, dropped");
            return Ok(());
        };
        let secret = Secret::new(&secret)?;
        // The transaction stays open during the call: its lock keeps others from making it too, and goes with the process.
        let scope = self.database.begin(message.tenant_id).await?;
        let (attempt, next) = match webhooks::load(&scope, message.webhook_id).await? {
            Loaded::Nothing => return Ok(scope.rollback().await?),
            Loaded::Later(pause) => {
                scope.rollback().await?;
                return self.put_off(message, pause).await;
            }
            Loaded::Superseded { attempt } => {
                (note(attempt, "not called: the session was resumed and is to end again"), Next::Failed)
            }
            Loaded::Due(delivery) => {
                trace::about("session_id", delivery.session_id);
                trace::adopt(delivery.trace);
                fail_point!("deliver-webhook.loaded", message.tenant_id);
                let made = self.call(&message, &delivery, &secret).await?;
                fail_point!("deliver-webhook.called", message.tenant_id);
                made
            }
        };
        self.record(scope, message, &attempt, next).await
    }

    /// Counts an attempt that could not be made, so that what is poison comes to its end as well.
    pub(crate) async fn give_up(&self, body: &str) -> Result<(), Retry> {
        let Some(message) = read_message(body) else { return Ok(()) };
        let scope = self.database.begin(message.tenant_id).await?;
        match webhooks::load(&scope, message.webhook_id).await? {
            Loaded::Due(delivery) => {
                let attempt = note(delivery.attempt, "not called: something is wrong on our side");
                self.record(scope, message, &attempt, again(delivery.attempt)?).await
            }
            Loaded::Later(pause) => {
                scope.rollback().await?;
                self.put_off(message, pause).await
            }
            Loaded::Nothing | Loaded::Superseded { .. } => Ok(scope.rollback().await?),
        }
    }

    /// Makes an attempt.
    async fn call(
        &self,
        message: &DeliverWebhook,
        delivery: &Delivery,
        secret: &Secret,
    ) -> Result<(Attempt, Next), Retry> {
        let id = message.webhook_id.to_string();
        let body = serde_json::to_vec(&Event::finished(delivery))?;
        let timestamp = epoch_seconds(SystemTime::now());
        let signature = secret.sign(&Message { id: &id, timestamp, body: &body });
        let headers =
            [("webhook-id", id), ("webhook-timestamp", timestamp.to_string()), ("webhook-signature", signature)];
        let Outcome { status, error, elapsed } = self.caller.post(&delivery.url, headers, body).await;
        let next = match status {
            Some(200..300) => Next::Delivered,
            Some(GONE) => Next::Failed,
            _ => again(delivery.attempt)?,
        };
        let count = match next {
            Next::Delivered => metrics::counter!("WebhookDeliveries"),
            Next::Failed | Next::Again(_) => metrics::counter!("WebhookFailures"),
        };
        count.increment(1);
        metrics::histogram!("WebhookCallTime").record(milliseconds(elapsed));
        let elapsed_ms = i32::try_from(elapsed.as_millis()).unwrap_or(i32::MAX);
        tracing::info!(attempt = delivery.attempt, status, error, elapsed_ms, ?next, "called");
        Ok((Attempt { attempt: delivery.attempt, elapsed_ms, status, error }, next))
    }

    /// Logs an attempt, and then sends the message of the next one. If it dies between the two, the message that is
    /// delivered again is put off.
    async fn record(
        &self,
        scope: Scope<'_>,
        message: DeliverWebhook,
        attempt: &Attempt,
        next: Next,
    ) -> Result<(), Retry> {
        let recorded = match webhooks::record_attempt(&scope, message.webhook_id, attempt, next).await {
            Ok(_) => scope.commit().await,
            Err(error) => {
                drop(scope);
                Err(error)
            }
        };
        if let Err(error) = recorded {
            // what was called must not be called again because the connection was lost meanwhile
            tracing::warn!(error = describe(&error), "attempt is recorded over another connection");
            let record =
                async |scope: &mut Scope<'_>| webhooks::record_attempt(scope, message.webhook_id, attempt, next).await;
            self.database.run("record_attempt", message.tenant_id, record).await?;
        }
        fail_point!("deliver-webhook.recorded", message.tenant_id);
        match next {
            Next::Again(pause) => self.put_off(message, pause).await,
            Next::Delivered | Next::Failed => Ok(()),
        }
    }

    /// Lets the message come again when the next attempt is due, or when SQS holds it back no longer.
    async fn put_off(&self, message: DeliverWebhook, pause: Duration) -> Result<(), Retry> {
        self.webhooks.send_later(&message, pause).await?;
        fail_point!("deliver-webhook.put-off", message.tenant_id);
        Ok(())
    }
}

/// An attempt that was none.
fn note(attempt: i32, error: &str) -> Attempt {
    Attempt { attempt, elapsed_ms: 0, status: None, error: Some(error.to_owned()) }
}

/// What follows an attempt that failed.
fn again(attempt: i32) -> Result<Next, Retry> {
    let [a, b, c, d, ..] = random()?;
    let jitter = f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX);
    Ok(pause_after(u32::try_from(attempt).unwrap_or_default(), jitter).map_or(Next::Failed, Next::Again))
}

fn random() -> Result<[u8; 32], Retry> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system has no random bytes: {error}"))?;
    Ok(bytes)
}

fn read_message(body: &str) -> Option<DeliverWebhook> {
    let message = serde_json::from_str(body);
    if message.is_err() {
        tracing::error!("message is not readable, dropped");
    }
    message.ok()
}
