//! Wires the function: the environment, the clients, the handler.

use crate::{chores, retention};
use intake_aws::{Objects, Queue};
use intake_domain::retention::Policy;
use intake_lambda::Run;
use intake_lambda::config::Environment;
use intake_lambda::database::DatabaseAddress;
use intake_lambda::lanes::{LaneUrls, Lanes};
use intake_lambda::turn::Turns;
use intake_lambda::{invocation, telemetry};

/// Runs the function on the Lambda runtime.
///
/// # Errors
/// A missing or malformed variable of the environment; the end of the runtime.
pub fn run() -> Run {
    Box::pin(async {
        telemetry::start();
        let mut environment = Environment::default();
        let owners = DatabaseAddress::read_of_owner(&mut environment);
        let address = DatabaseAddress::read(&mut environment);
        let upload_queue = environment.text("UPLOAD_QUEUE_URL");
        let bucket = environment.text("UPLOAD_BUCKET");
        let chunks = LaneUrls::read(&mut environment, "CHUNK");
        let promotions = LaneUrls::read(&mut environment, "PROMOTION");
        let webhook_queue = environment.text("WEBHOOK_QUEUE_URL");
        let export_queue = environment.text("EXPORT_QUEUE_URL");
        let metrics_queue = environment.text("METRICS_QUEUE_URL");
        let terms = retention::Terms {
            policy: Policy {
                order_months: environment.number_from_0("KEEP_ORDER_MONTHS"),
                stock_event_days: environment.number_from_0("KEEP_STOCK_EVENT_DAYS"),
                price_event_days: environment.number_from_0("KEEP_PRICE_EVENT_DAYS"),
                session_days: environment.number_from_0("KEEP_SESSION_DAYS"),
            },
            archive_days: environment.number_from_0("KEEP_ARCHIVE_DAYS"),
            audit_days: environment.number_from_0("KEEP_AUDIT_DAYS"),
        };
        environment.finish()?;
        let aws = intake_aws::load().await;
        let chores = chores::Chores {
            database: address.open(&aws, "maintain")?,
            owner: owners.server(&aws)?,
            terms,
            uploads: Queue::new(&aws, upload_queue),
            objects: Objects::new(&aws, bucket),
            chunks: Lanes::new(&aws, chunks),
            exports: Queue::new(&aws, export_queue),
            metrics: Queue::new(&aws, metrics_queue),
            turns: Turns { promotions: Lanes::new(&aws, promotions), webhooks: Queue::new(&aws, webhook_queue) },
        };
        invocation::run(async |_| chores.run().await).await
    })
}
