//! `run-export`: a tenant's rows are written into a file. See README.md.

mod encode;
mod export;
mod object;
mod parquet_file;
mod write;

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
    let part_bytes = environment.number("PART_BYTES");
    let export_queue = environment.text("EXPORT_QUEUE_URL");
    environment.finish()?;
    let aws = intake_aws::load().await;
    let worker = export::Worker {
        database: Database::new(&database_url, "run-export")?,
        books: Database::new(&database_url, "run-export books")?,
        objects: Objects::new(&aws, bucket),
        exports: Queue::new(&aws, export_queue),
        sizes: write::Sizes::of_parts(part_bytes),
    };
    batch::run(async |body, delivery| worker.handle(body, delivery).await, async |body| worker.give_up(body).await)
        .await
}
