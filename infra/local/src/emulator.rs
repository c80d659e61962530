//! The emulator: ministack, started through `emulator/start.py`, and the template deployed into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use axum::body::Body;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::gateway::Api;
use crate::postgres::Databases;
use crate::processes::{self, MARK};
use crate::state::State;
use crate::tools::Tools;
use crate::{Say, Settings, front, tail, workspace};

/// What a user's shell may say to the AWS SDKs or to an emulator must not reach ours.
const FOREIGN: [&str; 6] = ["AWS_", "MINISTACK_", "LOCALSTACK_", "LAMBDA_", "S3_", "PYTHON"];

/// The outputs of the template, by queue; its dead letters follow each.
pub const QUEUES: [(&str, &str); 16] = [
    ("uploads", "UploadQueueUrl"),
    ("uploads-dead-letters", "UploadDeadLettersUrl"),
    ("chunks", "ChunkQueueUrl"),
    ("chunks-dead-letters", "ChunkDeadLettersUrl"),
    ("urgent-chunks", "UrgentChunkQueueUrl"),
    ("urgent-chunks-dead-letters", "UrgentChunkDeadLettersUrl"),
    ("promotions", "PromotionQueueUrl"),
    ("promotions-dead-letters", "PromotionDeadLettersUrl"),
    ("urgent-promotions", "UrgentPromotionQueueUrl"),
    ("urgent-promotions-dead-letters", "UrgentPromotionDeadLettersUrl"),
    ("metrics", "MetricsQueueUrl"),
    ("metrics-dead-letters", "MetricsDeadLettersUrl"),
    ("webhooks", "WebhookQueueUrl"),
    ("webhooks-dead-letters", "WebhookDeadLettersUrl"),
    ("exports", "ExportQueueUrl"),
    ("exports-dead-letters", "ExportDeadLettersUrl"),
];

/// The running emulator.
pub(crate) struct Emulator {
    child: Child,
    port: u16,
    python: PathBuf,
    saved: PathBuf,
    /// The emulator ends when this pipe does.
    _supervised: ChildStdin,
}

/// What of the deployed stack the others need.
pub(crate) struct Deployed {
    pub(crate) api: Api,
    pub(crate) bucket: String,
    pub(crate) idempotency_table: String,
    pub(crate) rate_table: String,
    pub(crate) queues: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Deployment {
    changed: bool,
    outputs: BTreeMap<String, String>,
    api: Api,
}

impl Emulator {
    pub(crate) async fn start(state: &State, tools: &Tools, port: u16, say: Say<'_>) -> Result<Self> {
        say(&format!("starting the emulator on port {port}"));
        let (log, saved) = (state.new_log("emulator")?, state.join("emulator"));
        let mut command = Command::new(tools.python());
        surround(&mut command, state, port);
        let mut child = command
            .arg(script("start.py"))
            .env("GATEWAY_PORT", port.to_string())
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "127.0.0.1")
            .env("PERSIST_STATE", "1")
            .env("STATE_DIR", &saved)
            .env("S3_PERSIST", "1")
            .env("S3_DATA_DIR", state.join("objects"))
            .env("SFTP_ENABLED", "0")
            .env("IOT_MTLS_ENABLED", "0")
            // It would look for containers of its own kind, and remove them.
            .env("DOCKER_HOST", format!("unix://{}", state.join("tmp/no-docker").display()))
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("run the emulator")?;
        let supervised = child.stdin.take().context("the emulator's input")?;
        let mut emulator = Self { child, port, python: tools.python(), saved, _supervised: supervised };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !healthy(&emulator.url()).await {
            if let Some(status) = emulator.child.try_wait()? {
                bail!("the emulator ended at its start ({status}):\n{}", tail(&state.log("emulator")));
            }
            if Instant::now() > deadline {
                bail!("the emulator is not ready after 60 s:\n{}", tail(&state.log("emulator")));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(emulator)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Deploys the template, unless what is there is the same.
    pub(crate) async fn deploy(
        &self,
        state: &State,
        host: &Path,
        databases: &Databases,
        settings: &Settings,
        say: Say<'_>,
    ) -> Result<Deployed> {
        say("deploying template.yaml");
        // Each running function holds a database connection and a core: more than there are cores gains nothing.
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let mut parameters = BTreeMap::from([
            ("Architecture", architecture.to_owned()),
            ("ApiDatabaseUrl", databases.api.clone()),
            ("LoaderDatabaseUrl", databases.loader.clone()),
            ("OwnerDatabaseUrl", databases.owner.clone()),
            ("LoadConcurrency", cores.clamp(2, 20).to_string()),
            ("PromoteConcurrency", cores.clamp(2, 10).to_string()),
            // nothing expires here: what was deleted would fill the disk
            ("BucketVersions", "false".to_owned()),
            // a shop that is developed on this machine is called on it
            ("WebhookAllowedHosts", "localhost".to_owned()),
        ]);
        for (name, value) in [
            ("ChunkBytes", settings.chunk_bytes),
            ("PartBytes", settings.part_bytes),
            ("RequestsPerMinute", settings.requests_per_minute),
            ("PriceEventsPerMinute", settings.price_events_per_minute),
            ("PriceEventsOfProductPerMinute", settings.price_events_of_product_per_minute),
            ("FollowSeconds", settings.follow_seconds),
            ("KeyCacheSeconds", settings.key_cache_seconds),
        ] {
            parameters.extend(value.map(|value| (name, value.to_string())));
        }
        let request = serde_json::json!({
            "template": workspace().join("template.yaml"),
            "host": host,
            "log": state.log("functions"),
            "parameters": parameters,
        });

        let mut command = Command::new(&self.python);
        surround(&mut command, state, self.port);
        let mut child = command
            .arg(script("deploy.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("run deploy.py")?;
        child.stdin.take().context("deploy.py's input")?.write_all(request.to_string().as_bytes()).await?;
        let ended = child.wait_with_output().await?;
        if !ended.status.success() {
            bail!("the template could not be deployed: {}", String::from_utf8_lossy(&ended.stderr).trim());
        }
        let Deployment { changed, mut outputs, api } =
            serde_json::from_slice(&ended.stdout).context("read the outputs of the deployment")?;
        say(if changed { "deployed" } else { "already deployed" });
        if let (true, Some(pid)) = (changed, self.child.id()) {
            processes::nudge(pid);
        }
        let mut output = |name| outputs.remove(name).with_context(|| format!("the template has no output {name}"));
        let queues =
            QUEUES.iter().map(|(queue, name)| Ok(((*queue).to_owned(), output(*name)?))).collect::<Result<_>>()?;
        let [bucket, idempotency_table, rate_table] =
            ["UploadBucketName", "IdempotencyTableName", "RateTableName"].map(&mut output);
        Ok(Deployed { api, bucket: bucket?, idempotency_table: idempotency_table?, rate_table: rate_table?, queues })
    }

    /// Waits for the emulator's end.
    pub(crate) async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Ends the emulator once its state is saved. It then waits for functions that still run; they are run again
    /// anyway.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let (asked, since) = (Instant::now(), SystemTime::now());
        let Some(pid) = self.child.id() else { bail!("the emulator had ended before, and did not save its state") };
        processes::terminate(pid);
        loop {
            let ended = timeout(Duration::from_millis(50), self.child.wait()).await.is_ok();
            let saved = self.saved_since(since);
            if ended && saved {
                return Ok(());
            }
            if ended || asked.elapsed() > Duration::from_secs(if saved { 3 } else { 30 }) {
                self.child.kill().await.context("end the emulator")?;
                return if saved {
                    Ok(())
                } else {
                    bail!("the emulator did not save its state: queues may have lost messages")
                };
            }
        }
    }

    /// Whether the queues were written after `since` and nothing is being written any more.
    fn saved_since(&self, since: SystemTime) -> bool {
        let files: Vec<_> = std::fs::read_dir(&self.saved).into_iter().flatten().flatten().collect();
        let written = |name: &str| {
            let modified = std::fs::metadata(self.saved.join(name)).and_then(|file| file.modified());
            modified.is_ok_and(|modified| modified >= since)
        };
        let unfinished = files.iter().any(|file| file.path().extension().is_some_and(|kind| kind == "tmp"));
        written("sqs.json") && written("cloudformation.json") && !unfinished
    }
}

/// Whether an emulator answers at this URL.
pub(crate) async fn healthy(url: &str) -> bool {
    let Ok(address) = format!("{url}/_ministack/health").parse() else { return false };
    let mut request = axum::http::Request::new(Body::empty());
    *request.uri_mut() = address;
    let answer = timeout(Duration::from_secs(2), front::client().request(request)).await;
    matches!(answer, Ok(Ok(answer)) if answer.status().is_success())
}

/// Gives a command the emulator as its whole cloud and what else the stack's processes have in common. What it starts
/// inherits it.
pub(crate) fn surround(command: &mut Command, state: &State, port: u16) {
    for (name, _) in std::env::vars_os() {
        if FOREIGN.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
        .env(MARK, state.root())
        .env("TMPDIR", state.join("tmp"))
        .env("INTAKE_FAIL_POINTS", state.fail_points())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost");
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("emulator").join(name)
}
