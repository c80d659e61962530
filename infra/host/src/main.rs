//! All functions in one binary, for the local stack and the tests: `intake-functions NAME` runs one of them. The cloud gets a
//! binary for each function instead, so that its size and its calls are those of one function.

use intake_lambda::Run;
use std::process::ExitCode;

/// The name of its crate, and how to run it.
type Function = (&'static str, fn() -> Run);

/// All of them. A new function needs its line here.
const FUNCTIONS: &[Function] = &[
    ("deliver-webhook", deliver_webhook::run),
    ("ingest-api", ingest_api::run),
    ("load-chunk", load_chunk::run),
    ("maintain", maintain::run),
    ("migrate", migrate::run),
    ("plan-file", plan_file::run),
    ("price-api", price_api::run),
    ("promote-file", promote_file::run),
    ("record-dead-letter", record_dead_letter::run),
    ("refresh-metrics", refresh_metrics::run),
    ("report-api", report_api::run),
    ("run-export", run_export::run),
    ("site", site::run),
    ("stock-api", stock_api::run),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: intake-functions NAME, where NAME is one of {}; it is `{wanted}`", names.join(", "));
        return ExitCode::from(2);
    };
    intake_lambda::run(*function)
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_crate_of_functions_is_hosted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
        let folders =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
        let crates: BTreeSet<_> =
            folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
        assert_eq!(FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(), crates);
    }
}
