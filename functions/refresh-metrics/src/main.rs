//! `refresh-metrics` as a binary of its own, as the cloud runs it.

fn main() -> std::process::ExitCode {
    intake_lambda::run(refresh_metrics::run)
}
