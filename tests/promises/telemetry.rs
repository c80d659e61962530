//! What the functions say of their work: in the logs, by which trace, and in numbers.

use super::webhooks::Receiver;
use crate::support::{CHUNK_BYTES, File, Ground, Session, Shop, counts, customer, ndjson};
use anyhow::{Context, Result, ensure};
use aws_sdk_sqs::types::MessageSystemAttributeName;
use intake_aws::Queue;
use intake_domain::trace::TraceId;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long the last line of an upload may take to be written.
const PATIENCE: Duration = Duration::from_secs(30);

/// Good rows and bad ones, in several chunks.
const ROWS: [u64; 2] = [150, 7];

/// An upload of customers whose session was opened under a trace, told of at its end.
struct Traced {
    trace: String,
    session: Session,
    chunks: u64,
}

impl Traced {
    async fn send(ground: &Arc<Ground>) -> Result<Self> {
        let shop = Shop::open(ground).await?;
        let receiver = Receiver::open(&[204], Duration::ZERO).await?;
        let trace = format!("1-{:08x}-{}", 0x6900_0000, &Uuid::new_v4().simple().to_string()[..24]);
        let [good, bad] = ROWS;
        let bad_rows = (0..bad)
            .map(|number| json!({"customer_id": "none", "name": "", "email": format!("b{number}@shop.example")}));
        let file = File::new("customers.ndjson", ndjson((0..good).map(customer).chain(bad_rows)));
        ensure!(file.bytes.len() > 3 * CHUNK_BYTES, "a file of several chunks");
        let body = json!({"files": [file.declared()], "callback_url": receiver.url()});
        let request = shop.request(Method::POST, "/api/v1/ingest/sessions").header("content-type", "application/json");
        let request = request.header("x-amzn-trace-id", format!("Root={trace};Parent=53995c3f42cd8ad8;Sampled=1"));
        let session = Session::read(&crate::support::Answer::to(request.body(body.to_string())).await?.json(201)?)?;
        shop.upload(&session, &[file]).await?;
        let status = shop.finished(&session).await?;
        ensure!(counts(&status)[4] == bad as i64, "{status:#}");
        receiver.called(1).await?;
        let chunks = status["total_chunks"].as_u64().context("chunks")?;
        Ok(Self { trace, session, chunks })
    }

    /// The lines under its trace, once the call is among them, which comes last.
    async fn lines(&self, ground: &Ground) -> Result<Vec<Value>> {
        let since = Instant::now();
        loop {
            let mut lines = ground.function_log()?;
            lines.retain(|line| line["trace_id"] == self.trace.as_str());
            if lines.iter().any(|line| line.get("WebhookDeliveries").is_some()) {
                return Ok(lines);
            }
            ensure!(since.elapsed() < PATIENCE, "no call under the trace: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn is_metrics(line: &Value) -> bool {
    line.get("_aws").is_some()
}

pub(super) async fn a_trace_goes_from_the_gateway_to_the_last_chunk(ground: Arc<Ground>) -> Result<()> {
    let sent = Traced::send(&ground).await?;
    let (session, file) = (sent.session.id.to_string(), sent.session.file_id(0).to_string());
    let lines = sent.lines(&ground).await?;
    let said = |function: &str, message: &str| -> Vec<&Value> {
        let is_of = |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with(function));
        lines.iter().filter(is_of).filter(|line| line["message"] == message).collect()
    };
    ensure!(said("intake_lambda", "answered").len() == 1, "the request: {lines:#?}");
    ensure!(said("plan_file", "loading begins").len() == 1, "its plan: {lines:#?}");
    for (function, message) in [("load_chunk", "chunk staged"), ("promote_file", "slice promoted")] {
        let chunks: BTreeSet<_> =
            said(function, message).iter().filter_map(|line| line["chunk_index"].as_u64()).collect();
        ensure!(chunks == (0..sent.chunks).collect(), "{function} of {} chunks: {chunks:?}", sent.chunks);
    }
    ensure!(said("promote_file", "file promoted").len() == 1, "its end: {lines:#?}");
    ensure!(said("deliver_webhook", "called").len() == 1, "the call: {lines:#?}");

    for line in &lines {
        ensure!(line["request_id"].is_string(), "a line of no invocation: {line}");
        let is_of_functions =
            !is_metrics(line) && !line["target"].as_str().is_some_and(|of| of.starts_with("intake_lambda"));
        if is_of_functions {
            ensure!(
                line["tenant_id"].is_string() && line["session_id"] == session.as_str(),
                "a line of nothing: {line}"
            );
            ensure!(line["file_id"] == file.as_str() || line["webhook_id"].is_string(), "a line of no file: {line}");
        }
    }
    // and nothing is said of the session under another
    let stray = ground.function_log()?.into_iter().find(|line| {
        let is_ours = line["session_id"] == session.as_str() || line["file_id"] == file.as_str();
        is_ours && line["trace_id"] != sent.trace.as_str()
    });
    ensure!(stray.is_none(), "another trace: {stray:?}");
    Ok(())
}

pub(super) async fn a_message_carries_its_trace_on(ground: Arc<Ground>) -> Result<()> {
    let id = TraceId::new(0x6900_0001, *b"twelve bytes");
    let made = ground.sqs.create_queue().queue_name("traced").send().await?;
    let url = made.queue_url().context("a queue")?;
    let queue = Queue::new(&ground.aws, url.to_owned());
    intake_aws::trace::set(Some(id));
    let sent = async {
        queue.send_all(&["one", "two"]).await?;
        queue.send_later(&"three", Duration::ZERO).await
    };
    let sent = sent.await;
    intake_aws::trace::set(None);
    sent?;
    queue.send_all(&["four"]).await?;
    let mut carried = BTreeMap::new();
    while carried.len() < 4 {
        let receive = ground.sqs.receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(5);
        let name = MessageSystemAttributeName::AwsTraceHeader;
        let received = receive.message_system_attribute_names(name.clone()).send().await?;
        ensure!(!received.messages().is_empty(), "only {carried:?}");
        carried.extend(received.messages.unwrap_or_default().into_iter().map(|message| {
            let header = message.attributes.unwrap_or_default().remove(&name);
            (message.body.unwrap_or_default(), header)
        }));
    }
    ground.sqs.delete_queue().queue_url(url).send().await?;
    let header = Some(id.header());
    for (body, header) in [("\"one\"", &header), ("\"two\"", &header), ("\"three\"", &header), ("\"four\"", &None)] {
        ensure!(carried.get(body) == Some(header), "{body}: {carried:?}");
    }

    // and a function that finds no work in a message says so under it
    let record = json!({"messageId": "m", "body": "no work", "attributes": {"AWSTraceHeader": id.header()}});
    ground.invoke("LoadChunk", &json!({ "Records": [record] })).await?;
    let (trace, since) = (id.to_string(), Instant::now());
    while !ground.function_log()?.iter().any(|line| line["trace_id"] == trace.as_str() && line["level"] == "ERROR") {
        ensure!(since.elapsed() < PATIENCE, "nothing is said under {trace}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

pub(super) async fn what_was_done_is_counted(ground: Arc<Ground>) -> Result<()> {
    let sent = Traced::send(&ground).await?;
    let [good, bad] = ROWS.map(|rows| rows as f64);
    let mut sums: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    let lines = sent.lines(&ground).await?;
    for line in lines.iter().filter(|line| is_metrics(line)) {
        let is_of_rows = line.get("AcceptedRows").or(line.get("PromotedRows")).or(line.get("FileTime")).is_some();
        ensure!(!is_of_rows || line["Dataset"] == "customers", "{line}");
        for name in ["AcceptedRows", "RejectedRows", "PromotedRows", "ChunkLoadTime", "ChunkPromotionTime", "FileTime"]
            .into_iter()
            .chain(["WebhookDeliveries", "WebhookCallTime"])
        {
            let (values, sum) = sums.entry(name).or_default();
            for value in values_of(&line[name]) {
                *values += 1;
                *sum += value;
            }
        }
    }
    let sum = |name| sums.get(name).map_or(0.0, |(_, sum)| *sum);
    let times = |name| sums.get(name).map_or(0, |(values, _)| *values as u64);
    ensure!((sum("AcceptedRows"), sum("RejectedRows"), sum("PromotedRows")) == (good + bad, bad, good), "{sums:?}");
    ensure!((times("ChunkLoadTime"), times("ChunkPromotionTime")) == (sent.chunks, sent.chunks), "{sums:?}");
    ensure!((times("FileTime"), times("WebhookCallTime")) == (1, 1) && sum("WebhookDeliveries") == 1.0, "{sums:?}");
    ensure!(sum("FileTime") >= sum("ChunkPromotionTime") && sum("ChunkLoadTime") > 0.0, "{sums:?}");
    Ok(())
}

fn values_of(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .map_or_else(|| value.as_f64().into_iter().collect(), |all| all.iter().filter_map(Value::as_f64).collect())
}

pub(super) async fn metrics_are_as_cloudwatch_reads_them(ground: Arc<Ground>) -> Result<()> {
    Traced::send(&ground).await?.lines(&ground).await?;
    let lines = ground.function_log()?;
    let (mut read, mut functions) = (0, BTreeSet::new());
    for line in lines.iter().filter(|line| is_metrics(line)) {
        conforms(line).with_context(|| line.to_string())?;
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        ensure!(directive["Namespace"] == "Intake", "{line}");
        let dimensions = directive["Dimensions"][0].as_array().context("dimensions")?;
        let allowed =
            |name: &Value| ["FunctionName", "Dataset", "Kind", "Outcome", "Status"].iter().any(|known| name == known);
        ensure!(dimensions[0] == "FunctionName" && dimensions.iter().all(allowed), "{line}");
        functions.extend(line["FunctionName"].as_str());
        read += 1;
    }
    ensure!(read > 0, "nothing is counted");
    for function in ["PlanFile", "LoadChunk", "PromoteFile", "DeliverWebhook"] {
        ensure!(functions.iter().any(|name| name.contains(function)), "{function} counts nothing: {functions:?}");
    }
    Ok(())
}

/// The units of CloudWatch.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// The schema of the embedded metric format, and what it says of the members that the document refers to.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn conforms(line: &Value) -> Result<()> {
    let members = |value: &Value, known: &[&str]| {
        value.as_object().is_some_and(|object| object.keys().all(|key| known.contains(&key.as_str())))
    };
    let is_text =
        |value: &Value, most: usize| value.as_str().is_some_and(|text| (1..=most).contains(&text.chars().count()));
    let metadata = &line["_aws"];
    ensure!(members(metadata, &["Timestamp", "CloudWatchMetrics"]) && metadata["Timestamp"].is_u64(), "metadata");
    let directives = metadata["CloudWatchMetrics"].as_array().context("directives")?;
    ensure!(!directives.is_empty(), "no directive");
    for directive in directives {
        ensure!(members(directive, &["Namespace", "Dimensions", "Metrics"]), "a member that is unknown");
        ensure!(is_text(&directive["Namespace"], 1024), "a namespace");
        let sets = directive["Dimensions"].as_array().context("sets of dimensions")?;
        ensure!(!sets.is_empty(), "no set of dimensions");
        for set in sets {
            let set = set.as_array().context("a set of dimensions")?;
            ensure!(set.len() <= 30, "{} dimensions", set.len());
            for name in set {
                ensure!(is_text(name, 250), "a dimension's name");
                ensure!(is_text(&line[name.as_str().unwrap_or_default()], 1024), "the dimension {name} has no text");
            }
        }
        let metrics = directive["Metrics"].as_array().context("metrics")?;
        ensure!((1..=100).contains(&metrics.len()), "{} metrics", metrics.len());
        for metric in metrics {
            ensure!(
                members(metric, &["Name", "Unit", "StorageResolution"]) && is_text(&metric["Name"], 1024),
                "a metric"
            );
            ensure!(metric["Unit"].as_str().is_some_and(|unit| UNITS.contains(&unit)), "{metric} has no unit");
            let value = &line[metric["Name"].as_str().unwrap_or_default()];
            let is_numbers =
                value.as_array().is_some_and(|all| (1..=100).contains(&all.len()) && all.iter().all(Value::is_number));
            ensure!(value.is_number() || is_numbers, "{metric} has no value");
        }
    }
    Ok(())
}

pub(super) async fn every_metric_has_a_unit_and_is_described(_: Arc<Ground>) -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let used = Regex::new(r#"(?:counter|gauge|histogram)!\(\s*"(\w+)""#)?;
    let (mut names, mut folders) = (BTreeSet::new(), vec![workspace.join("functions"), workspace.join("shared")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let source = std::fs::read_to_string(path)?;
                names.extend(used.captures_iter(&source).map(|found| found[1].to_owned()));
            }
        }
    }
    let table = |path: &str, row: &str| -> Result<BTreeMap<String, String>> {
        let text = std::fs::read_to_string(workspace.join(path))?;
        let rows = Regex::new(row)?;
        Ok(rows.captures_iter(&text).map(|found| (found[1].to_owned(), found[2].to_owned())).collect())
    };
    let units = table("shared/lambda/src/telemetry.rs", r#"\("(\w+)", Unit::(\w+)\)"#)?;
    let described = table("shared/lambda/README.md", r"(?m)^\| `(\w+)` \| (\w+) \|")?;
    ensure!(units.keys().eq(&names), "units are of {:?}, counted are {names:?}", units.keys());
    ensure!(described == units, "README.md says {described:?}, the functions {units:?}");
    Ok(())
}
