//! `load-chunk`: the lines of one chunk become staged rows and rejects. See README.md.

mod load;

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
    let loader = load::Loader {
        database: Database::new(&database_url, "load-chunk")?,
        objects: Objects::new(&aws, bucket),
        promotions: Queue::new(&aws, promotion_queue),
    };
    batch::run(async |body, _| loader.handle(body).await, async |body| loader.give_up_message(body).await).await
}
