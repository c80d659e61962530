//! The one stack, and the clients that reach into it.

use super::Logs;
use anyhow::{Context, Result, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::Credentials;
use aws_sdk_sqs::types::QueueAttributeName;
use intake_local::{Endpoints, Settings, Stack};
use intake_postgres::admin;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Small, so that small files have many chunks.
pub(crate) const CHUNK_BYTES: usize = 2048;

/// Small, so that small files are uploaded in parts.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// How long an answer that is followed stays open: for longer than a while in which there is nothing to tell.
pub(crate) const FOLLOW_SECONDS: u64 = 12;

/// Short, so that the end of a key is seen soon.
pub(crate) const KEY_CACHE_SECONDS: u64 = 5;

/// How the queues of what was given up are named.
const DEAD_LETTERS: &str = "-dead-letters";

/// Starts the stack for whoever asks first, and stops it.
#[derive(Default)]
pub(crate) struct Lease {
    stack: Mutex<Option<Stack>>,
    ground: OnceCell<Arc<Ground>>,
    turns: RwLock<()>,
}

impl Lease {
    /// The running stack.
    pub(crate) async fn ground(&self) -> Result<Arc<Ground>> {
        let start = async || {
            let settings = settings();
            let stack = start(&settings).await.context("the stack does not start")?;
            let ground = Ground::new(stack.endpoints().clone(), settings.state_dir).await;
            *self.stack.lock().await = Some(stack);
            ground.map(Arc::new)
        };
        self.ground.get_or_try_init(start).await.cloned()
    }

    /// A turn beside others.
    pub(crate) async fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.turns.read().await
    }

    /// A turn of one's own.
    pub(crate) async fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().await
    }

    /// The logs of the stack, if it was started, with what it has made that must not stand there.
    pub(crate) async fn logs(&self) -> Result<Option<Logs>> {
        let Some(ground) = self.ground.get() else { return Ok(None) };
        let mut client = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
        let mut tokens = HashSet::new();
        for tenant in admin::list_tenants(&mut client).await? {
            client.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.id.to_string()]).await?;
            let rows = client.query("select upload_token::text from upload_sessions", &[]).await?;
            tokens.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
        Ok(Some(Logs::new(ground.logs(), tokens)))
    }

    /// Stops what was started. Somebody who is still connected to the database is cut off, and it is not killed over them.
    pub(crate) async fn end(&self) -> Result<()> {
        let Some(stack) = self.stack.lock().await.take() else { return Ok(()) };
        let connected = intake_postgres::connect(&stack.endpoints().owner_database_url).await;
        stack.stop(&say).await?;
        if let (Some(ground), Ok(_)) = (self.ground.get(), connected) {
            let log = std::fs::read(ground.logs().join("postgres.log"))?;
            let log = String::from_utf8_lossy(&log);
            ensure!(log.contains("database system is shut down"), "the database was killed:\n{log}");
        }
        Ok(())
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

/// Everything lies under cargo's target folder; the Python environment outlives the run.
fn settings() -> Settings {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
    let folder = |name| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    Settings {
        state_dir: folder("INTAKE_TESTS_DIR").unwrap_or_else(|| target.join("stack-tests")),
        api_port: 0,
        chunk_bytes: Some(CHUNK_BYTES as u64),
        // what is measured has parts as they are deployed
        part_bytes: std::env::var_os("INTAKE_EXPORT_BENCH").is_none().then_some(PART_BYTES as u64),
        requests_per_minute: None,
        price_events_per_minute: None,
        price_events_of_product_per_minute: None,
        follow_seconds: Some(FOLLOW_SECONDS),
        key_cache_seconds: Some(KEY_CACHE_SECONDS),
        tools_dir: Some(folder("INTAKE_TOOLS_DIR").unwrap_or_else(|| target.join("stack-tools"))),
    }
}

/// A stack that knows nothing of earlier runs.
async fn start(settings: &Settings) -> Result<Stack> {
    let parts = intake_local::status(settings).await?;
    let is_held = parts.iter().any(|(part, ..)| part == "supervisor");
    ensure!(!is_held, "another run of the tests holds {}", settings.state_dir.display());
    intake_local::stop_running(settings, &say).await?; // what a run that was killed left behind
    if settings.state_dir.exists() {
        std::fs::remove_dir_all(&settings.state_dir).context("remove the last run's state")?;
    }
    Stack::start(settings, &say).await
}

/// The running stack and the ways into it.
pub(crate) struct Ground {
    pub(crate) endpoints: Endpoints,
    pub(crate) http: reqwest::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    /// What clients of the emulator are made of.
    pub(crate) aws: SdkConfig,
    /// The names of the tables of DynamoDB.
    tables: Vec<String>,
    /// The names of the functions by those of their resources.
    functions: Vec<String>,
    pub(super) state_dir: PathBuf,
}

impl Ground {
    /// Where the logs are, one file a part of the stack.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    async fn new(endpoints: Endpoints, state_dir: PathBuf) -> Result<Self> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .endpoint_url(&endpoints.aws_url)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let mut ground = Self {
            http: reqwest::Client::new(),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sqs: aws_sdk_sqs::Client::new(&config),
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            aws: config,
            tables: Vec::new(),
            functions: Vec::new(),
            // as the stack itself names it, whatever links lead there
            state_dir: state_dir.canonicalize()?,
            endpoints,
        };
        let url = format!("{}/2015-03-31/functions/", ground.endpoints.aws_url);
        let listed: Value = ground.http.get(url).send().await?.json().await?;
        let listed = listed["Functions"].as_array().context("a list of functions")?;
        ground.functions =
            listed.iter().filter_map(|function| function["FunctionName"].as_str().map(str::to_owned)).collect();
        ground.tables = ground.dynamodb.list_tables().send().await?.table_names.unwrap_or_default();
        ground.record_dead_letters(false).await?;
        Ok(ground)
    }

    /// The name of the DynamoDB table that the template calls so.
    pub(crate) fn table(&self, resource: &str) -> Result<&str> {
        self.tables.iter().find(|name| name.contains(resource)).map(String::as_str).context(resource.to_owned())
    }

    /// The name of a function by that of its resource in the template, without `Function`.
    fn function(&self, resource: &str) -> Result<&str> {
        let resource = format!("{resource}Function");
        self.functions.iter().find(|name| name.contains(&resource)).map(String::as_str).context(resource)
    }

    /// Runs a function, named as its resource in the template without `Function`, and returns what it answers.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Result<Value> {
        let name = self.function(function)?;
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.endpoints.aws_url);
        let answer = self.http.post(url).body(event.to_string()).send().await?;
        let failed = answer.headers().contains_key("x-amz-function-error");
        let text = answer.text().await?;
        ensure!(!failed, "{name} failed: {text}");
        let answer: Value = serde_json::from_str(&text).context(text)?;
        // one that is meant for a stream is its head, eight NULs and its body
        let Some((head, body)) = answer.as_str().and_then(|answer| answer.split_once("\0\0\0\0\0\0\0\0")) else {
            return Ok(answer);
        };
        let mut answer: Value = serde_json::from_str(head)?;
        answer["body"] = body.into();
        Ok(answer)
    }

    /// Lets each invocation of a function, named as in [`invoke`](Self::invoke), take so many seconds, and returns how many it
    /// could take before.
    pub(crate) async fn limit_to(&self, function: &str, seconds: u64) -> Result<u64> {
        let name = self.function(function)?;
        let url = format!("{}/2015-03-31/functions/{name}/configuration", self.endpoints.aws_url);
        let before: Value = self.http.get(&url).send().await?.json().await?;
        let changed = self.http.put(&url).body(json!({ "Timeout": seconds }).to_string()).send().await?;
        ensure!(changed.status().is_success(), "{}", changed.text().await?);
        before["Timeout"].as_u64().context("a timeout")
    }

    /// Gives a function, named as in [`invoke`](Self::invoke), a variable of its environment, or takes it away.
    pub(crate) async fn set_variable(&self, function: &str, name: &str, value: Option<&str>) -> Result<()> {
        let url = format!("{}/2015-03-31/functions/{}/configuration", self.endpoints.aws_url, self.function(function)?);
        let before: Value = self.http.get(&url).send().await?.json().await?;
        let mut variables = before["Environment"]["Variables"].as_object().context("an environment")?.clone();
        match value {
            Some(value) => drop(variables.insert(name.to_owned(), value.into())),
            None => drop(variables.remove(name)),
        }
        let body = json!({"Environment": {"Variables": variables}});
        let changed = self.http.put(&url).body(body.to_string()).send().await?;
        ensure!(changed.status().is_success(), "{}", changed.text().await?);
        Ok(())
    }

    /// Delivers a message to a function as its event source would, and says whether it was acknowledged.
    pub(crate) async fn deliver(&self, function: &str, body: &str) -> Result<bool> {
        self.deliver_again(function, body, 1).await
    }

    /// As `deliver`, as if it were that many times by now.
    pub(crate) async fn deliver_again(&self, function: &str, body: &str, receives: u32) -> Result<bool> {
        let record = json!({
            "messageId": "00000000-0000-4000-8000-000000000000", "receiptHandle": "none", "body": body,
            "attributes": {"ApproximateReceiveCount": receives.to_string()}, "messageAttributes": {}, "eventSource": "aws:sqs",
        });
        let answer = self.invoke(function, &json!({ "Records": [record] })).await?;
        Ok(answer["batchItemFailures"].as_array().context("a batch response")?.is_empty())
    }

    /// Puts a message into one of the queues.
    pub(crate) async fn send(&self, queue: &str, body: &str) -> Result<()> {
        self.sqs.send_message().queue_url(&self.endpoints.queues[queue]).message_body(body).send().await?;
        Ok(())
    }

    /// How many messages a queue holds, those in flight included.
    pub(crate) async fn depth(&self, queue: &str) -> Result<u64> {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        let asked = self
            .sqs
            .get_queue_attributes()
            .queue_url(&self.endpoints.queues[queue])
            .attribute_names(ApproximateNumberOfMessages)
            .attribute_names(ApproximateNumberOfMessagesNotVisible)
            .send()
            .await?;
        let numbers = asked.attributes.unwrap_or_default();
        numbers.values().map(|number| Ok(number.parse::<u64>()?)).sum()
    }

    /// Waits until every message of every queue has been dealt with.
    pub(crate) async fn drained(&self) -> Result<()> {
        let since = Instant::now();
        'again: loop {
            ensure!(since.elapsed() < Duration::from_secs(120), "the queues do not empty");
            for queue in self.endpoints.queues.keys().filter(|queue| !queue.ends_with(DEAD_LETTERS)) {
                if self.depth(queue).await? > 0 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue 'again;
                }
            }
            return Ok(());
        }
    }

    /// How many messages were given up, over all queues.
    pub(crate) async fn dead_letters(&self) -> Result<u64> {
        let mut sum = 0;
        for queue in self.endpoints.queues.keys().filter(|queue| queue.ends_with(DEAD_LETTERS)) {
            sum += self.depth(queue).await?;
        }
        Ok(sum)
    }

    /// Waits until so many messages of a queue have been given up.
    pub(crate) async fn given_up(&self, queue: &str, count: u64) -> Result<()> {
        let since = Instant::now();
        while self.depth(&format!("{queue}{DEAD_LETTERS}")).await? < count {
            ensure!(since.elapsed() < Duration::from_secs(60), "nothing of {queue} is given up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The Python of the emulator, which has Amazon's own client.
    pub(crate) fn python(&self) -> PathBuf {
        settings().tools_dir.unwrap_or_default().join("bin/python")
    }

    /// Sets how long a message that is being handled stays hidden, and returns what it was for each queue.
    pub(crate) async fn hide_for(&self, seconds: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let mut before = BTreeMap::new();
        for (queue, seconds) in seconds {
            let url = &self.endpoints.queues[queue];
            let name = QueueAttributeName::VisibilityTimeout;
            let asked = self.sqs.get_queue_attributes().queue_url(url).attribute_names(name.clone()).send().await?;
            let was = asked.attributes.and_then(|mut all| all.remove(&name)).context("a visibility timeout")?;
            before.insert(queue.clone(), was);
            self.sqs.set_queue_attributes().queue_url(url).attributes(name, seconds).send().await?;
        }
        Ok(before)
    }

    /// The processes of this stack that run a function, by the name of its crate.
    pub(crate) fn processes(&self, function: &str) -> Vec<i32> {
        let mark = format!("INTAKE_STACK={}", self.state_dir.display()).into_bytes();
        let runs = |pid: &i32| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            command.split(|byte| *byte == 0).nth(1) == Some(function.as_bytes())
                && environment.split(|byte| *byte == 0).any(|entry| entry == mark)
        };
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(runs).collect()
    }
}
