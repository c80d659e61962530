//! Execution environments: processes of a function, each with one request at a time. They are started on demand, used
//! again, and replaced when they die or when the binary was built anew.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::processes;

/// Environments of one function at a time; further requests wait. Each may hold a database connection, and one in which
/// a client waits for something holds nothing else.
const MAX_ENVIRONMENTS: usize = 16;

/// How often a request is given to another environment because one ended before it took it.
const ATTEMPTS: usize = 3;

/// How long an environment is waited for before another one is started: one that has just answered is idle in a moment,
/// and a start takes longer.
const MOMENT: Duration = Duration::from_millis(10);

/// A function as it is deployed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    pub(crate) name: String,
    /// The binary of all functions.
    pub(crate) host: PathBuf,
    /// The name by which the binary knows the function: that of its crate.
    #[serde(rename = "crate")]
    pub(crate) crate_name: String,
    pub(crate) arn: String,
    memory_mb: u32,
    timeout_s: u64,
    log_group: String,
    environment: BTreeMap<String, String>,
}

/// How a function answered.
pub(crate) enum Answer {
    /// Whole, as JSON.
    Buffered(Bytes),
    /// The prelude, and the body as it comes.
    Streamed(Bytes, mpsc::Receiver<Result<Bytes, BrokenStream>>),
    /// Not: what it said of its error, for the log.
    Failed(String),
    /// Its environment ended before it took the request.
    Untouched,
}

/// The function ended, or reported an error, in the middle of a body.
#[derive(Debug)]
pub(crate) struct BrokenStream;

impl std::fmt::Display for BrokenStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the function broke off its answer")
    }
}

impl std::error::Error for BrokenStream {}

/// A request for a function.
struct Invocation {
    id: String,
    event: Bytes,
    deadline: SystemTime,
    reply: oneshot::Sender<Answer>,
    occupied: Occupied,
}

/// What ends with an invocation: the environment's place, and the clock that ends the environment in the middle of it.
struct Occupied {
    _place: OwnedSemaphorePermit,
    clock: JoinHandle<()>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.clock.abort();
    }
}

/// A request as the function gets it.
pub(crate) struct Taken {
    pub(crate) id: String,
    pub(crate) event: Bytes,
    pub(crate) deadline: SystemTime,
}

/// A function and its environments.
pub(crate) struct Function {
    settings: Settings,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Arc<Environment>>>,
    /// Told when an environment becomes idle.
    returned: Notify,
}

/// A process of a function.
pub(crate) struct Environment {
    id: Uuid,
    function: Arc<Function>,
    /// When the binary that it runs was built.
    built: Option<SystemTime>,
    /// 0 until it runs.
    pid: AtomicU32,
    work: Mutex<Work>,
    given: Notify,
    end: Notify,
}

/// Where an environment stands.
#[derive(Default)]
struct Work {
    /// What it has not taken yet.
    given: Option<Invocation>,
    /// What it took; the way to answer it is gone once that has begun.
    running: Option<(String, Option<oneshot::Sender<Answer>>, Occupied)>,
    ended: bool,
}

/// Makes the command of a binary ready to be run: its environment and where it writes to.
pub(crate) type Prepare = Box<dyn Fn(&mut Command) -> Result<()> + Send + Sync>;

/// Every environment of every function.
pub(crate) struct Environments {
    /// Host and port of the Runtime API.
    runtime_api: String,
    prepare: Prepare,
    running: Mutex<HashMap<Uuid, Arc<Environment>>>,
}

impl Function {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            settings,
            places: Arc::new(Semaphore::new(MAX_ENVIRONMENTS)),
            idle: Mutex::default(),
            returned: Notify::new(),
        })
    }

    /// When its binary was built; None while there is none.
    fn built(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.settings.host).and_then(|file| file.modified()).ok()
    }

    /// An idle environment, the last one used first. Those that run an older binary are ended, those that are dead left
    /// to who waits for their end.
    fn warm(&self) -> Option<Arc<Environment>> {
        let built = self.built();
        loop {
            let environment = locked(&self.idle).pop()?;
            if built.is_some() && environment.built != built {
                environment.end();
            } else if processes::alive(environment.pid.load(Ordering::Relaxed)) {
                return Some(environment);
            }
        }
    }
}

impl Environments {
    /// `runtime_api` is the host and port at which [`Environments::find`] is asked for.
    pub(crate) fn new(runtime_api: String, prepare: Prepare) -> Arc<Self> {
        Arc::new(Self { runtime_api, prepare, running: Mutex::default() })
    }

    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<Environment>> {
        locked(&self.running).get(&id).cloned()
    }

    /// Lets a function answer an event. It goes on with it even if nobody waits any more.
    pub(crate) async fn invoke(self: &Arc<Self>, function: &Arc<Function>, id: &str, event: Bytes) -> Result<Answer> {
        for _ in 0..ATTEMPTS {
            let place = Arc::clone(&function.places).acquire_owned().await?;
            if locked(&function.idle).is_empty() && function.places.available_permits() + 1 < MAX_ENVIRONMENTS {
                drop(tokio::time::timeout(MOMENT, function.returned.notified()).await);
            }
            let (reply, answer) = oneshot::channel();
            // No wait from here to the end of `give`: whoever is given up in between would leave an environment that
            // is neither idle nor at work.
            let environment = match function.warm() {
                Some(environment) => environment,
                None => self.start(function)?,
            };
            environment.give(id, event.clone(), reply, place);
            match answer.await {
                Ok(Answer::Untouched) => {}
                Ok(answer) => return Ok(answer),
                Err(_) => return Ok(Answer::Failed("its process ended".to_owned())),
            }
        }
        Ok(Answer::Failed("its process ends at its start".to_owned()))
    }

    fn start(self: &Arc<Self>, function: &Arc<Function>) -> Result<Arc<Environment>> {
        let environment = Arc::new(Environment {
            id: Uuid::new_v4(),
            function: Arc::clone(function),
            built: function.built(),
            pid: AtomicU32::new(0),
            work: Mutex::default(),
            given: Notify::new(),
            end: Notify::new(),
        });
        let settings = &function.settings;
        let mut command = Command::new(&settings.host);
        command.arg(&settings.crate_name);
        (self.prepare)(&mut command)?;
        command
            // The path tells the environments apart; the runtimes put it before theirs.
            .env("AWS_LAMBDA_RUNTIME_API", format!("http://{}/{}", self.runtime_api, environment.id))
            .env("AWS_LAMBDA_FUNCTION_NAME", &settings.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings.memory_mb.to_string())
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", &settings.log_group)
            .env("AWS_LAMBDA_LOG_STREAM_NAME", environment.id.to_string())
            .env("_HANDLER", "bootstrap")
            .envs(&settings.environment)
            .process_group(0)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("run {}", settings.host.display()))?;
        environment.pid.store(child.id().unwrap_or_default(), Ordering::Relaxed);
        locked(&self.running).insert(environment.id, Arc::clone(&environment));
        tokio::spawn(Arc::clone(self).watch(Arc::clone(&environment), child));
        Ok(environment)
    }

    /// Waits for the end of a process, which it brings about when asked to, and for what depends on it.
    async fn watch(self: Arc<Self>, environment: Arc<Environment>, mut child: Child) {
        tokio::select! {
            _ = child.wait() => {}
            () = environment.end.notified() => drop(child.kill().await),
        }
        locked(&self.running).remove(&environment.id);
        locked(&environment.function.idle).retain(|other| other.id != environment.id);
        let (given, running) = {
            let mut work = locked(&environment.work);
            work.ended = true;
            (work.given.take(), work.running.take())
        };
        drop(running);
        environment.given.notify_waiters();
        if let Some(Invocation { reply, occupied, .. }) = given {
            drop(occupied);
            let _ = reply.send(Answer::Untouched);
        }
    }

    /// Ends every environment.
    pub(crate) fn end(&self) {
        locked(&self.running).values().for_each(|environment| environment.end());
    }
}

impl Environment {
    /// The function that it runs.
    pub(crate) fn arn(&self) -> &str {
        &self.function.settings.arn
    }

    fn give(self: &Arc<Self>, id: &str, event: Bytes, reply: oneshot::Sender<Answer>, place: OwnedSemaphorePermit) {
        let timeout = Duration::from_secs(self.function.settings.timeout_s);
        let environment = Arc::clone(self);
        let clock = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            environment.end();
        });
        let occupied = Occupied { _place: place, clock };
        let mut work = locked(&self.work);
        if work.ended {
            drop(work);
            drop(occupied);
            let _ = reply.send(Answer::Untouched);
            return;
        }
        work.given =
            Some(Invocation { id: id.to_owned(), event, deadline: SystemTime::now() + timeout, reply, occupied });
        drop(work);
        self.given.notify_one();
    }

    /// The next request, once there is one; None when the environment has ended. Asking for it ends the one before and
    /// makes the environment idle.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<Taken> {
        let before = locked(&self.work).running.take();
        if before.is_some() {
            locked(&self.function.idle).push(Arc::clone(self));
            self.function.returned.notify_one();
            drop(before); // gives the place free, so not before the environment is idle
        }
        loop {
            let given = self.given.notified();
            {
                let mut work = locked(&self.work);
                if let Some(Invocation { id, event, deadline, reply, occupied }) = work.given.take() {
                    work.running = Some((id.clone(), Some(reply), occupied));
                    return Some(Taken { id, event, deadline });
                }
                if work.ended {
                    return None;
                }
            }
            given.await;
        }
    }

    /// The way to answer a request, once; None when it is not the one at hand.
    pub(crate) fn reply(&self, id: &str) -> Option<oneshot::Sender<Answer>> {
        let mut work = locked(&self.work);
        let (running, reply, _) = work.running.as_mut()?;
        if running == id { reply.take() } else { None }
    }

    /// Kills the process.
    fn end(&self) {
        self.end.notify_one();
    }
}

/// None of the locks is held over anything that panics.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
