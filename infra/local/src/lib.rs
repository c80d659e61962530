//! The local stack: PostgreSQL, the emulator of S3, SQS, DynamoDB and Lambda with the real function binaries inside it,
//! and one front that runs those of the API itself. `intake up`, `intake demo` and the tests share it.
//!
//! It owns one folder, the state folder, and every process it starts. It must not know a tenant, a session or a row:
//! what the stack is used for is the business of those who start it.

mod doctor;
mod emulator;
mod environments;
mod framing;
mod front;
mod functions;
mod gateway;
mod postgres;
mod processes;
mod proxy;
mod quick_ack;
mod routes;
mod runtime_api;
mod state;
mod tools;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

pub use doctor::doctor;
pub use emulator::QUEUES;
pub use functions::{build_binary, build_each as build_functions};
use state::State;

/// Takes one short line for each step.
pub type Say<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Where the stack lives and what differs from the template's defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of everything that the stack keeps.
    pub state_dir: PathBuf,
    /// The port of the front; 0 takes a free one.
    pub api_port: u16,
    /// Bytes of a file that one chunk covers.
    pub chunk_bytes: Option<u64>,
    /// Bytes of one part of a multipart upload.
    pub part_bytes: Option<u64>,
    /// How many requests a tenant may make in any minute.
    pub requests_per_minute: Option<u64>,
    /// How many price events a tenant may send in any minute.
    pub price_events_per_minute: Option<u64>,
    /// How many of them about one product.
    pub price_events_of_product_per_minute: Option<u64>,
    /// How long an answer that is followed stays open, in seconds.
    pub follow_seconds: Option<u64>,
    /// For how long a function takes a key for valid without asking the database, in seconds.
    pub key_cache_seconds: Option<u64>,
    /// The Python environment, which several state folders may share; `None` for one in the state folder.
    pub tools_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads `INTAKE_STATE_DIR` (`.intake` in the workspace), `INTAKE_API_PORT` (8000), `INTAKE_CHUNK_BYTES`,
    /// `INTAKE_PART_BYTES`, `INTAKE_REQUESTS_PER_MINUTE`, `INTAKE_PRICE_EVENTS_PER_MINUTE`,
    /// `INTAKE_PRICE_EVENTS_OF_PRODUCT_PER_MINUTE`, `INTAKE_FOLLOW_SECONDS`, `INTAKE_KEY_CACHE_SECONDS` and
    /// `INTAKE_TOOLS_DIR`.
    pub fn from_env() -> Result<Self> {
        fn number<T: std::str::FromStr>(name: &str) -> Result<Option<T>> {
            let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) else { return Ok(None) };
            text.parse().map(Some).ok().with_context(|| format!("{name} is not a number in range: {text}"))
        }
        let folder = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        Ok(Self {
            state_dir: folder("INTAKE_STATE_DIR").unwrap_or_else(|| workspace().join(".intake")),
            api_port: number("INTAKE_API_PORT")?.unwrap_or(8000),
            chunk_bytes: number("INTAKE_CHUNK_BYTES")?,
            part_bytes: number("INTAKE_PART_BYTES")?,
            requests_per_minute: number("INTAKE_REQUESTS_PER_MINUTE")?,
            price_events_per_minute: number("INTAKE_PRICE_EVENTS_PER_MINUTE")?,
            price_events_of_product_per_minute: number("INTAKE_PRICE_EVENTS_OF_PRODUCT_PER_MINUTE")?,
            follow_seconds: number("INTAKE_FOLLOW_SECONDS")?,
            key_cache_seconds: number("INTAKE_KEY_CACHE_SECONDS")?,
            tools_dir: folder("INTAKE_TOOLS_DIR"),
        })
    }
}

/// Where a running stack is reached. Holds passwords: the file it is kept in is readable by its owner alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// The front: the public paths, as in the cloud.
    pub api_url: String,
    /// The emulator: S3, SQS, DynamoDB and the rest, credentials `test`/`test`, region `us-east-1`.
    pub aws_url: String,
    /// The bucket of uploads and staged chunks.
    pub bucket: String,
    /// The DynamoDB table of idempotency records.
    pub idempotency_table: String,
    /// That of the rate limits.
    pub rate_table: String,
    /// The role that owns the schema.
    pub owner_database_url: String,
    /// The role of the API functions.
    pub api_database_url: String,
    /// The role of the functions that load and promote.
    pub loader_database_url: String,
    /// `uploads`, `chunks`, `urgent-chunks`, `promotions`, `urgent-promotions`, `metrics`, `webhooks` and each with `-dead-letters`, to
    /// the queue's URL.
    pub queues: BTreeMap<String, String>,
    /// A file here lets a function fail at the point, for the tenant, that its name says.
    pub fail_points: PathBuf,
    /// The process that started the stack and ends it.
    pub supervisor_pid: u32,
}

/// A stack that this process started. Its parts end when it is dropped, too, but only [`Stack::stop`] waits for them.
pub struct Stack {
    endpoints: Endpoints,
    state: State,
    front: front::Front,
    emulator: emulator::Emulator,
    postgres: postgres::Server,
    _lock: File,
}

impl Stack {
    /// Starts every part, or says which one did not start and why.
    pub async fn start(settings: &Settings, say: Say<'_>) -> Result<Self> {
        let state = State::create(&settings.state_dir)?;
        let lock = state
            .lock()?
            .with_context(|| format!("the stack in {} is already up; `intake down` ends it", state.root().display()))?;
        clean_up(&state, say).await?;
        let listener = front::bind(settings.api_port).await?;

        let tools = tools::install(&state, settings.tools_dir.as_deref(), say).await?;
        let host = functions::build(say).await?;
        let ports = state.ports()?;
        let postgres = postgres::Server::start(&state, &tools, ports.postgres, say).await?;
        let databases = postgres.prepare(say).await?;
        state.new_log("functions")?;
        let emulator = emulator::Emulator::start(&state, &tools, ports.emulator, say).await?;
        let deployed = emulator.deploy(&state, &host, &databases, settings, say).await?;
        let runtime_api = runtime_api::RuntimeApi::serve(prepare(&state, emulator.port())).await?;
        let gateway = gateway::Gateway::new(deployed.api, runtime_api, state.append_to_log("functions")?);
        let front = front::Front::serve(listener, gateway)?;

        let endpoints = Endpoints {
            api_url: front.url(),
            aws_url: emulator.url(),
            bucket: deployed.bucket,
            idempotency_table: deployed.idempotency_table,
            rate_table: deployed.rate_table,
            owner_database_url: databases.owner,
            api_database_url: databases.api,
            loader_database_url: databases.loader,
            queues: deployed.queues,
            fail_points: state.fail_points(),
            supervisor_pid: std::process::id(),
        };
        state::write_private(&state.endpoints(), &serde_json::to_vec_pretty(&endpoints)?)?;
        say(&format!("ready at {}", endpoints.api_url));
        Ok(Self { endpoints, state, front, emulator, postgres, _lock: lock })
    }

    /// Where this stack is reached.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Waits for an interrupt, a request to terminate, or the end of a part, and says which.
    pub async fn watch(&mut self) -> Result<String> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let ended =
            |part: &str, status: String| format!("{part} ended: {status}; see {}", self.state.log(part).display());
        Ok(tokio::select! {
            _ = interrupt.recv() => "interrupted".into(),
            _ = terminate.recv() => "asked to stop".into(),
            status = self.emulator.ended() => ended("emulator", status),
            status = self.postgres.ended() => ended("postgres", status),
        })
    }

    /// Ends the parts in reverse order; what they hold is kept for the next start.
    pub async fn stop(self, say: Say<'_>) -> Result<()> {
        let forgotten = forget_endpoints(&self.state);
        say("stopping the front");
        self.front.stop();
        say("stopping the emulator");
        let saved = self.emulator.stop().await;
        let swept = end_marked(&self.state).await;
        say("stopping postgres");
        let stopped = self.postgres.stop().await;
        forgotten.and(saved).and(swept).and(stopped)
    }
}

/// Makes functions that the front runs what those in the emulator are.
fn prepare(state: &State, emulator_port: u16) -> environments::Prepare {
    let state = state.clone();
    Box::new(move |command| {
        emulator::surround(command, &state, emulator_port);
        let log = state.append_to_log("functions")?;
        command.stdout(log.try_clone()?).stderr(log);
        Ok(())
    })
}

/// Runs `exe up` in the background and waits until it is ready, relaying its lines; returns at once when it is up
/// already.
pub async fn start_detached(settings: &Settings, exe: &Path, say: Say<'_>) -> Result<Endpoints> {
    if let Some(endpoints) = running(settings).await {
        return Ok(endpoints);
    }
    let state = State::create(&settings.state_dir)?;
    let log = state.log("up");
    let output = File::create(&log)?;
    let mut command = Command::new(exe);
    command.arg("up").env("INTAKE_STATE_DIR", state.root()).env("INTAKE_API_PORT", settings.api_port.to_string());
    for (name, value) in [
        ("INTAKE_CHUNK_BYTES", settings.chunk_bytes),
        ("INTAKE_PART_BYTES", settings.part_bytes),
        ("INTAKE_REQUESTS_PER_MINUTE", settings.requests_per_minute),
        ("INTAKE_PRICE_EVENTS_PER_MINUTE", settings.price_events_per_minute),
        ("INTAKE_PRICE_EVENTS_OF_PRODUCT_PER_MINUTE", settings.price_events_of_product_per_minute),
        ("INTAKE_FOLLOW_SECONDS", settings.follow_seconds),
        ("INTAKE_KEY_CACHE_SECONDS", settings.key_cache_seconds),
    ] {
        if let Some(value) = value {
            command.env(name, value.to_string());
        }
    }
    if let Some(tools_dir) = &settings.tools_dir {
        command.env("INTAKE_TOOLS_DIR", tools_dir);
    }
    let mut supervisor = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("run {}", exe.display()))?;

    let (mut lines, mut rest) = (File::open(&log)?, String::new());
    loop {
        let ended = supervisor.try_wait()?;
        lines.read_to_string(&mut rest)?;
        while let Some((line, after)) = rest.split_once('\n') {
            say(line);
            rest = after.to_owned();
        }
        if let Some(status) = ended {
            bail!("the stack did not start ({status}); see {}", log.display());
        }
        if let Some(endpoints) = running(settings).await {
            return Ok(endpoints);
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The endpoints of the stack in this state folder, if its supervisor, its front and its emulator are there.
pub async fn running(settings: &Settings) -> Option<Endpoints> {
    let state = State::open(&settings.state_dir)?;
    let endpoints: Endpoints = serde_json::from_slice(&std::fs::read(state.endpoints()).ok()?).ok()?;
    let up = state.is_locked() && answers(&endpoints.api_url).await && emulator::healthy(&endpoints.aws_url).await;
    up.then_some(endpoints)
}

/// Ends the stack in this state folder, whoever started it; false when there is none.
pub async fn stop_running(settings: &Settings, say: Say<'_>) -> Result<bool> {
    let Some(state) = State::open(&settings.state_dir) else { return Ok(false) };
    if !state.is_locked() {
        return clean_up(&state, say).await;
    }
    let supervisor = state.supervisor().context("the lock file names no process")?;
    say(&format!("asking process {supervisor} to stop"));
    processes::terminate(supervisor);
    let deadline = Instant::now() + Duration::from_secs(60);
    while state.is_locked() {
        if Instant::now() > deadline {
            bail!("process {supervisor} has not stopped the stack in 60 s; see {}", state.log("up").display());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

/// Each part of the stack, its state in words, and whether it is well.
pub async fn status(settings: &Settings) -> Result<Vec<(String, String, bool)>> {
    let Some(state) = State::open(&settings.state_dir).filter(State::is_locked) else {
        return Ok(vec![("stack".into(), format!("down, state in {}", settings.state_dir.display()), false)]);
    };
    let supervisor = state.supervisor().map_or_else(|| "unknown".into(), |pid| pid.to_string());
    let mut parts = vec![("supervisor".into(), format!("process {supervisor}"), true)];
    let Ok(file) = std::fs::read(state.endpoints()) else {
        parts.push(("stack".into(), "starting or stopping".into(), false));
        return Ok(parts);
    };
    let endpoints: Endpoints = serde_json::from_slice(&file)?;
    parts.push(match postgres::version(&endpoints.owner_database_url).await {
        Ok(version) => ("postgres".into(), version, true),
        Err(error) => ("postgres".into(), format!("{error:#}"), false),
    });
    let (emulator, front) = (emulator::healthy(&endpoints.aws_url).await, answers(&endpoints.api_url).await);
    parts.push(("emulator".into(), endpoints.aws_url.clone(), emulator));
    let workers = processes::marked(&state)?.iter().filter(|process| process.is_function()).count();
    parts.push(("functions".into(), format!("{workers} warm"), true));
    parts.push(("api".into(), endpoints.api_url, front));
    Ok(parts)
}

/// The log of each part.
pub fn logs(settings: &Settings) -> Vec<(String, PathBuf)> {
    let folder = settings.state_dir.join("logs");
    ["postgres", "emulator", "functions", "up"].map(|name| (name.into(), folder.join(format!("{name}.log")))).into()
}

/// Ends what an earlier supervisor left behind; true when there was something.
async fn clean_up(state: &State, say: Say<'_>) -> Result<bool> {
    let left = !processes::marked(state)?.is_empty();
    let database = postgres::running(state);
    if left || database.is_some() {
        say("ending what an earlier start left behind");
        end_marked(state).await?;
        if let Some(pid) = database {
            processes::interrupt(pid);
            processes::gone(&[pid], Duration::from_secs(30)).await;
        }
    }
    forget_endpoints(state)?;
    Ok(left || database.is_some())
}

fn forget_endpoints(state: &State) -> Result<()> {
    match std::fs::remove_file(state.endpoints()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("forget the endpoints"),
        _ => Ok(()),
    }
}

/// Ends every process that carries this stack's mark: the emulator first, which saves its state, then the functions. The database
/// is not among them: asked like the others, it would wait for its sessions, and be killed over them.
async fn end_marked(state: &State) -> Result<()> {
    let database = postgres::running(state);
    let all = processes::marked(state)?.into_iter().filter(|process| Some(process.pid) != database);
    let (functions, others): (Vec<_>, Vec<_>) = all.partition(processes::Process::is_function);
    for (group, patience) in [(others, 20), (functions, 3)] {
        let pids: Vec<u32> = group.iter().map(|process| process.pid).collect();
        pids.iter().copied().for_each(processes::terminate);
        for pid in processes::gone(&pids, Duration::from_secs(patience)).await {
            processes::kill(pid);
        }
    }
    Ok(())
}

/// Whether something accepts connections at this URL.
async fn answers(url: &str) -> bool {
    let address = url.trim_start_matches("http://").replace("localhost", "127.0.0.1");
    tokio::net::TcpStream::connect(address).await.is_ok()
}

/// The last lines of a log, for the message that reports a failure.
fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(2_000);
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(8)..].join("\n"))
    };
    read().unwrap_or_default()
}

/// The workspace that this crate was built in: the functions are built from it.
fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}
