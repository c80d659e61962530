//! Every promise of the system, on the real stack: PostgreSQL, the emulator and the real function binaries.
//!
//! The stack starts once, when the first test asks for it, and stops after the last; then its logs are looked through. Tests
//! run beside each other, each with tenants of its own. README.md says how to run one and how to add one.

mod promises;
mod support;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use support::{Ground, Lease, Logs};

/// How many tests run at a time unless told: more only wait for the same two or more cores.
const THREADS: usize = 4;

fn main() -> ExitCode {
    if let Some(answer) = support::probe_connection() {
        return answer;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let runtime = Arc::new(tokio::runtime::Runtime::new().expect("a runtime"));
    let lease = Arc::new(Lease::default());
    let mut trials = Trials { runtime: Arc::clone(&runtime), lease: Arc::clone(&lease), list: Vec::new() };
    promises::list(&mut trials);
    runtime.spawn(stop_when_interrupted(Arc::clone(&lease)));
    let conclusion = libtest_mimic::run(&arguments, trials.list);
    let logs = runtime.block_on(lease.logs()).transpose();
    let stopped = runtime.block_on(lease.end());
    if let Err(error) = &stopped {
        eprintln!("the stack did not stop well: {error:#}");
    }
    let scanned = if arguments.list || logs.is_some() { scan(&arguments, logs) } else { conclusion.clone() };
    if stopped.is_err() || conclusion.has_failed() || scanned.has_failed() {
        ExitCode::from(101)
    } else {
        ExitCode::SUCCESS
    }
}

/// The last test of every run, whichever tests it had: what has been logged, now that nobody logs any more.
fn scan(arguments: &Arguments, logs: Option<anyhow::Result<Logs>>) -> Conclusion {
    let trial = Trial::test("logs::whatever_was_logged_opens_nothing_and_names_nobody", || match logs {
        Some(logs) => logs.and_then(|logs| logs.hold_no_secret()).map_err(|error| Failed::from(format!("{error:#}"))),
        None => Ok(()),
    });
    let all = Arguments { filter: None, skip: Vec::new(), exact: false, logfile: None, ..arguments.clone() };
    libtest_mimic::run(&all, vec![trial])
}

/// Leaves nothing behind when the run is interrupted.
async fn stop_when_interrupted(lease: Arc<Lease>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        let stopped = lease.end().await;
        std::process::exit(if stopped.is_ok() { 130 } else { 1 });
    }
}

/// The list of tests as it grows.
struct Trials {
    runtime: Arc<tokio::runtime::Runtime>,
    lease: Arc<Lease>,
    list: Vec<Trial>,
}

impl Trials {
    /// Adds a test that runs beside others.
    fn add<Test, Run>(&mut self, name: &str, test: Test)
    where
        Test: FnOnce(Arc<Ground>) -> Run + Send + 'static,
        Run: Future<Output = anyhow::Result<()>>,
    {
        self.push(name, async |lease: &Lease| {
            let (ground, _shared) = (lease.ground().await?, lease.shared().await);
            test(ground).await
        });
    }

    /// Adds a test that disturbs others and so runs alone.
    fn add_alone<Test, Run>(&mut self, name: &str, test: Test)
    where
        Test: FnOnce(Arc<Ground>) -> Run + Send + 'static,
        Run: Future<Output = anyhow::Result<()>>,
    {
        self.push(name, async |lease: &Lease| {
            let (ground, _alone) = (lease.ground().await?, lease.alone().await);
            test(ground).await
        });
    }

    fn push(&mut self, name: &str, run: impl AsyncFnOnce(&Lease) -> anyhow::Result<()> + Send + 'static) {
        let (runtime, lease) = (Arc::clone(&self.runtime), Arc::clone(&self.lease));
        self.list.push(Trial::test(name, move || {
            runtime.block_on(run(&lease)).map_err(|error| Failed::from(format!("{error:#}")))
        }));
    }
}
