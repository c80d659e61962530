//! `maintain`: the hourly chores. See README.md.

mod chores;

use intake_aws::Queue;
use intake_lambda::config::Environment;
use intake_lambda::telemetry;
use intake_postgres::Database;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let owner_database_url = environment.text("OWNER_DATABASE_URL");
    let database_url = environment.text("DATABASE_URL");
    let upload_queue = environment.text("UPLOAD_QUEUE_URL");
    let chunk_queue = environment.text("CHUNK_QUEUE_URL");
    let promotion_queue = environment.text("PROMOTION_QUEUE_URL");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let chores = chores::Chores {
        database: Database::new(&database_url, "maintain")?,
        owner_database_url,
        uploads: Queue::new(&aws, upload_queue),
        chunks: Queue::new(&aws, chunk_queue),
        promotions: Queue::new(&aws, promotion_queue),
    };
    lambda_runtime::run(service_fn(async |_: LambdaEvent<Value>| chores.run().await)).await
}
