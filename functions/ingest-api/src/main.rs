//! `ingest-api` as a binary of its own, as the cloud runs it.

fn main() -> std::process::ExitCode {
    intake_lambda::run(ingest_api::run)
}
