//! Every promise of the system, on the real stack: PostgreSQL, the emulator and the real function binaries.
//!
//! The stack starts once, when the first test asks for it, and stops after the last; then its logs are looked through. Tests
//! run beside each other, each with tenants of its own. README.md says how to run one and how to add one.

mod promises;
mod support;

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};
use std::future::Future;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
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
    let durations = Durations::default();
    let mut trials = Trials {
        runtime: Arc::clone(&runtime),
        lease: Arc::clone(&lease),
        durations: durations.clone(),
        list: Vec::new(),
    };
    promises::list(&mut trials);
    runtime.spawn(stop_when_interrupted(Arc::clone(&lease)));
    let conclusion = libtest_mimic::run(&arguments, trials.list);
    durations.report();
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
    durations: Durations,
    list: Vec<Trial>,
}

/// How long each test took: waiting for its turn, and running.
#[derive(Clone, Default)]
struct Durations(Arc<Mutex<Vec<(Duration, Duration, String)>>>);

impl Durations {
    fn record(&self, name: &str, waited: Duration, ran: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((ran, waited, name.to_owned()));
    }

    /// Writes the slowest ten to standard error, and all of them to the file that `INTAKE_TEST_DURATIONS` names.
    fn report(&self) {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.sort_by(|one, other| other.cmp(one));
        let line = |(ran, waited, name): &(Duration, Duration, String)| {
            format!("{:7.1} s, after {:6.1} s  {name}", ran.as_secs_f64(), waited.as_secs_f64())
        };
        if all.len() > 10 {
            eprintln!("\nthe slowest tests:");
            all.iter().take(10).for_each(|entry| eprintln!("{}", line(entry)));
        }
        if let Some(path) = std::env::var_os("INTAKE_TEST_DURATIONS") {
            let lines: Vec<_> = all.iter().map(line).collect();
            if let Err(error) = std::fs::write(&path, lines.join("\n") + "\n") {
                eprintln!("{}: {error}", std::path::Path::new(&path).display());
            }
        }
    }
}

impl Trials {
    /// Adds a test that runs beside others.
    fn add<Test, Run>(&mut self, name: &str, test: Test)
    where
        Test: FnOnce(Arc<Ground>) -> Run + Send + 'static,
        Run: Future<Output = anyhow::Result<()>>,
    {
        let (durations, title) = (self.durations.clone(), name.to_owned());
        self.push(name, async move |lease: &Lease| {
            let asked = Instant::now();
            let (ground, _shared) = (lease.ground().await?, lease.shared().await);
            let begun = Instant::now();
            let ended = test(ground).await;
            durations.record(&title, begun - asked, begun.elapsed());
            ended
        });
    }

    /// Adds a test that disturbs others and so runs alone.
    fn add_alone<Test, Run>(&mut self, name: &str, test: Test)
    where
        Test: FnOnce(Arc<Ground>) -> Run + Send + 'static,
        Run: Future<Output = anyhow::Result<()>>,
    {
        let (durations, title) = (self.durations.clone(), name.to_owned());
        self.push(name, async move |lease: &Lease| {
            let asked = Instant::now();
            let (ground, _alone) = (lease.ground().await?, lease.alone().await);
            let begun = Instant::now();
            let ended = test(ground).await;
            durations.record(&title, begun - asked, begun.elapsed());
            ended
        });
    }

    fn push(&mut self, name: &str, run: impl AsyncFnOnce(&Lease) -> anyhow::Result<()> + Send + 'static) {
        let (runtime, lease) = (Arc::clone(&self.runtime), Arc::clone(&self.lease));
        self.list.push(Trial::test(name, move || {
            runtime.block_on(run(&lease)).map_err(|error| Failed::from(format!("{error:#}")))
        }));
    }
}
