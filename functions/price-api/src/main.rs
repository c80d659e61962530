//! `price-api` as a binary of its own, as the cloud runs it.

fn main() -> std::process::ExitCode {
    intake_lambda::run(price_api::run)
}
