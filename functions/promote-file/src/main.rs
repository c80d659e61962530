//! `promote-file`: the staged rows of one file go into the production tables. See README.md.

mod promote;

use intake_aws::{Objects, Queue};
use intake_lambda::config::Environment;
use intake_lambda::{batch, telemetry};
use intake_postgres::Database;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    let mut environment = Environment::default();
    let database_url = environment.text("DATABASE_URL");
    let bucket = environment.text("UPLOAD_BUCKET");
    let promotion_queue = environment.text("PROMOTION_QUEUE_URL");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let worker = promote::Worker {
        database: Database::new(&database_url, "promote-file")?,
        objects: Objects::new(&aws, bucket),
        promotions: Queue::new(&aws, promotion_queue),
    };
    batch::run(async |body, delivery| worker.handle(body, delivery).await, async |body| worker.give_up(body).await)
        .await
}
