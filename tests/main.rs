//! Every promise of the system, on the real stack: PostgreSQL, the emulator and the real function binaries.
//!
//! The stack starts once, when the first test asks for it, and stops after the last. Tests run beside each other, each
//! with tenants of its own. README.md says how to run one and how to add one.

mod promises;
mod support;

use libtest_mimic::{Arguments, Failed, Trial};
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use support::{Ground, Lease};

/// How many tests run at a time unless told: more only wait for the same two or more cores.
const THREADS: usize = 4;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let runtime = Arc::new(tokio::runtime::Runtime::new().expect("a runtime"));
    let lease = Arc::new(Lease::default());
    let mut trials = Trials { runtime: Arc::clone(&runtime), lease: Arc::clone(&lease), list: Vec::new() };
    promises::list(&mut trials);
    runtime.spawn(stop_when_interrupted(Arc::clone(&lease)));
    let conclusion = libtest_mimic::run(&arguments, trials.list);
    let stopped = runtime.block_on(lease.end());
    if let Err(error) = &stopped {
        eprintln!("the stack did not stop well: {error:#}");
    }
    if stopped.is_err() && !conclusion.has_failed() { ExitCode::FAILURE } else { conclusion.exit_code() }
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
