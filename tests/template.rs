//! The deployment against the code: what each function may do against what its binary can call, what works at a time against
//! the database's connections, queues against the functions that read them, alarms against what is measured and written
//! about them. No stack is needed; the functions are built.
//!
//! What this does not see: within the bucket, whether the prefixes of a policy are those that a function uses (the tests
//! on the stack do not see it either: the emulator asks for no permission). And what SAM grants by itself: a function behind
//! a queue may receive from every queue of the account, and one in a VPC may make network interfaces.

use regex::Regex;
use regex::bytes::Regex as Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use yaml_serde::Value as Yaml;

fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(workspace(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    yaml_serde::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All sources below a folder, in one text.
fn sources(path: &Path) -> String {
    let mut found = String::new();
    for entry in std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found += &sources(&path);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found += &std::fs::read_to_string(&path).expect("a source");
        }
    }
    found
}

/// The entries of a mapping whose keys are texts.
fn entries(mapping: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    mapping.as_mapping().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str()?, value)))
}

/// The resources of a kind, by their logical names.
fn resources<'a>(template: &'a Yaml, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Yaml)> {
    entries(&template["Resources"]).filter(move |(_, resource)| resource["Type"] == kind).map(|(name, resource)| {
        // a tag is as good as what it is a tag of: `!Ref X` reads as X, `!GetAtt X.Arn` as X.Arn
        (name, &resource["Properties"])
    })
}

/// A function as it is deployed.
struct Function<'a> {
    /// Its crate and binary.
    name: &'a str,
    properties: &'a Yaml,
    connections: u64,
}

fn functions(template: &Yaml) -> Vec<Function<'_>> {
    let all = entries(&template["Resources"]).filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function");
    all.map(|(logical, resource)| {
        let metadata = &resource["Metadata"];
        let name = metadata["Binary"].as_str().unwrap_or_else(|| panic!("{logical} has no Binary"));
        let connections = metadata["DatabaseConnections"].as_u64();
        let connections = connections.unwrap_or_else(|| panic!("{logical} does not say its DatabaseConnections"));
        Function { name, properties: &resource["Properties"], connections }
    })
    .collect()
}

impl Function<'_> {
    fn environment(&self) -> BTreeMap<&str, &Yaml> {
        entries(&self.properties["Environment"]["Variables"]).collect()
    }

    fn events(&self, kind: &str) -> Vec<&Yaml> {
        let events = entries(&self.properties["Events"]).filter(|(_, event)| event["Type"] == kind);
        events.map(|(_, event)| &event["Properties"]).collect()
    }

    fn sources(&self) -> String {
        sources(&workspace("functions").join(self.name).join("src"))
    }
}

/// All texts in a value, of its keys none.
fn texts(value: &Yaml) -> Vec<&str> {
    match (value.as_str(), value.as_sequence(), value.as_mapping()) {
        (Some(text), ..) => vec![text],
        (_, Some(sequence), _) => sequence.iter().flat_map(texts).collect(),
        (.., Some(mapping)) => mapping.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    }
}

/// The statements in the policies of a function, whatever they are conditions of.
fn statements(value: &Yaml) -> Vec<&Yaml> {
    if value["Effect"] == "Allow" {
        return vec![value];
    }
    match (value.as_sequence(), value.as_mapping()) {
        (Some(sequence), _) => sequence.iter().flat_map(statements).collect(),
        (_, Some(mapping)) => mapping.iter().flat_map(|(_, value)| statements(value)).collect(),
        _ => Vec::new(),
    }
}

/// What a policy grants: actions, each on the resource of that logical name, or on an output of a nested stack.
fn granted(function: &Function<'_>) -> BTreeSet<(String, String)> {
    let mut granted = BTreeSet::new();
    for statement in statements(&function.properties["Policies"]) {
        for resource in texts(&statement["Resource"]) {
            let resource = resource.trim_start_matches("${");
            let end = if resource.starts_with("Database.") { resource.len() } else { resource.find('.').unwrap_or(0) };
            granted.extend(
                texts(&statement["Action"]).into_iter().map(|action| (action.to_owned(), resource[..end].to_owned())),
            );
        }
    }
    granted
}

/// The names of the functions that are in a binary, as the compiler mangles them.
fn symbols(binary: &[u8]) -> Vec<&[u8]> {
    // ELF of 64 bits, least byte first: a section header has its type at 4, offset at 24, size at 32, the section that has
    // its names at 40; a symbol, of 24 bytes, has the place of its name at 0 and its kind at 4
    let number = |at: usize, bytes: usize| {
        let found = binary[at..at + bytes].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        usize::try_from(found).expect("an offset")
    };
    assert_eq!(&binary[..6], b"\x7fELF\x02\x01", "a binary of 64 bits");
    let header = |section: usize| number(40, 8) + section * number(58, 2);
    let is_symbols = |section: &usize| number(header(*section) + 4, 4) == 2;
    let table = header((0..number(60, 2)).find(is_symbols).expect("symbols: the binary is stripped"));
    let names = number(header(number(table + 40, 4)) + 24, 8);
    let (start, size) = (number(table + 24, 8), number(table + 32, 8));
    let functions = (start..start + size).step_by(24).filter(|at| binary[at + 4] & 15 == 2);
    functions
        .map(|at| {
            let name = &binary[names + number(at, 4)..];
            &name[..name.iter().position(|byte| *byte == 0).unwrap_or(name.len())]
        })
        .collect()
}

/// A call that a binary can make.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    service: String,
    operation: String,
    /// Whether it is made from there, and not by whoever gets a presigned URL.
    is_sent: bool,
}

/// The calls that are left in a binary: the linker drops the operations that nobody reaches from `main`.
fn calls(binary: &Path) -> BTreeSet<Call> {
    let binary = std::fs::read(binary).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    // as a function of its own, or, where that was inlined, as what its future drops
    let operation = r"aws_sdk_([a-z0-9]+?)(?:9operation\d\d?|\.\.operation\.\.)([a-z_]+?)(?:\d|\.\.)";
    let operation = Bytes::new(operation).expect("a pattern");
    let sent = Bytes::new(r"(?:11|\.\.)orchestrate(?:\d|\.\.)").expect("a pattern");
    let signed = Bytes::new(r"(?:27|\.\.)orchestrate_with_stop_point").expect("a pattern");
    let mut found_calls = BTreeMap::new();
    for symbol in symbols(&binary) {
        let Some(found) = operation.captures(symbol) else { continue };
        let is_sent = sent.is_match(symbol);
        if is_sent || signed.is_match(symbol) {
            let text = |group| String::from_utf8_lossy(&found[group]).into_owned();
            *found_calls.entry((text(1), text(2))).or_insert(false) |= is_sent;
        }
    }
    found_calls.into_iter().map(|((service, operation), is_sent)| Call { service, operation, is_sent }).collect()
}

/// What an operation on the bucket asks for, as the reference of S3's API says.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn of_bucket(call: &Call, removes_versions: bool) -> &'static [&'static str] {
    match call.operation.as_str() {
        "abort_multipart_upload" => &["s3:AbortMultipartUpload"],
        "complete_multipart_upload" | "create_multipart_upload" | "put_object" | "upload_part" => &["s3:PutObject"],
        "delete_objects" if removes_versions => &["s3:DeleteObject", "s3:DeleteObjectVersion"],
        "delete_objects" => &["s3:DeleteObject"],
        // who may not list is told that an object which is missing is forbidden, and the code asks whether it is missing
        "get_object" | "head_object" if call.is_sent => &["s3:GetObject", "s3:ListBucket"],
        "get_object" => &["s3:GetObject"],
        "list_multipart_uploads" => &["s3:ListBucketMultipartUploads"],
        "list_object_versions" => &["s3:ListBucketVersions"],
        "list_parts" => &["s3:ListMultipartUploadParts"],
        other => panic!("which actions does {other} of S3 ask for?"),
    }
}

/// What a function has to be granted, by the calls of its binary and the resources that its environment names.
fn needed(function: &Function<'_>, calls: &BTreeSet<Call>) -> BTreeSet<(String, String)> {
    let environment = function.environment();
    let mut needed = BTreeSet::new();
    let mut need = |action: &str, resource: &str| {
        needed.insert((action.to_owned(), resource.to_owned()));
    };
    let removes_versions = calls.iter().any(|call| call.operation == "list_object_versions");
    let queues =
        || environment.iter().filter(|(name, _)| name.ends_with("_QUEUE_URL")).filter_map(|(_, url)| url.as_str());
    for call in calls {
        match (call.service.as_str(), call.operation.as_str()) {
            // whoever has no role of Lambda's gets credentials by these; a function has
            ("sts" | "sso" | "ssooidc" | "signin", _) => {}
            ("s3", "create_session") => {} // of buckets of another kind, before every call
            ("s3", _) => {
                let bucket = environment.get("UPLOAD_BUCKET").and_then(|bucket| bucket.as_str());
                let bucket = bucket.unwrap_or_else(|| panic!("{} can call {call:?} on no bucket", function.name));
                of_bucket(call, removes_versions).iter().for_each(|action| need(action, bucket));
            }
            ("sqs", "send_message" | "send_message_batch") => {
                assert!(queues().next().is_some(), "{} sends to no queue", function.name);
                queues().for_each(|queue| need("sqs:SendMessage", queue));
            }
            // two tables, and each module of `shared/aws` knows one; a function that names no table has no client of one
            ("dynamodb", operation) => {
                let modules = [("IDEMPOTENCY_TABLE", "idempotency.rs"), ("RATE_TABLE", "rates.rs")];
                for (variable, module) in modules {
                    let Some(table) = environment.get(variable).and_then(|table| table.as_str()) else { continue };
                    if read(&format!("shared/aws/src/{module}")).contains(&format!(".{operation}()")) {
                        need(&format!("dynamodb:{}", in_words(operation)), table);
                    }
                }
            }
            ("secretsmanager", "get_secret_value") => {} // how to log in is the environment's to say: see below
            _ => panic!("{} can call {call:?}: which actions does that ask for?", function.name),
        }
    }
    for prefix in ["", "OWNER_"] {
        let [url, login] = ["URL", "LOGIN"].map(|what| environment.get(format!("{prefix}DATABASE_{what}").as_str()));
        let (Some(url), Some(login)) = (url, login) else { continue };
        match texts(login)[..] {
            [_, "iam", "url"] => {
                let role = texts(url)[1].strip_suffix("Url").expect("an output of the database's");
                need("rds-db:connect", &format!("{role}UserArn"));
            }
            [_, secret @ "Database.Outputs.OwnerSecretArn", "url"] => need("secretsmanager:GetSecretValue", secret),
            _ => panic!("{} logs in by {login:?}", function.name),
        }
    }
    needed
}

/// `put_item` as AWS writes it, `PutItem`.
fn in_words(operation: &str) -> String {
    let words = operation.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

#[test]
fn each_function_may_do_what_its_binary_can_call_and_no_more() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let binaries = runtime.block_on(intake_local::build_functions(&|line| println!("{line}"))).expect("the functions");
    let template = yaml("template.yaml");
    for function in functions(&template) {
        let needed = needed(&function, &calls(&binaries.join(function.name)));
        let granted = granted(&function);
        let (more, less): (Vec<_>, Vec<_>) =
            (granted.difference(&needed).collect(), needed.difference(&granted).collect());
        assert!(
            more.is_empty() && less.is_empty(),
            "{}: granted in vain {more:?}, not granted {less:?}",
            function.name
        );
    }
}

/// A value that is written down, or a parameter's.
fn number(value: &Yaml, parameters: &BTreeMap<String, String>) -> u64 {
    let parameter = || parameters.get(value.as_str()?)?.parse().ok();
    value.as_u64().or_else(parameter).unwrap_or_else(|| panic!("{value:?} is no number"))
}

/// How many invocations of a function there are at a time at most.
fn concurrency(function: &Function<'_>, parameters: &BTreeMap<String, String>) -> u64 {
    let queues = function.events("SQS");
    if !queues.is_empty() {
        return queues.iter().map(|event| number(&event["ScalingConfig"]["MaximumConcurrency"], parameters)).sum();
    }
    if function.events("Api").is_empty() {
        return 1; // a schedule's, a deployment's
    }
    let reserved = texts(&function.properties["ReservedConcurrentExecutions"]);
    assert_eq!(reserved, ["LimitsApi", "ApiConcurrency", "AWS::NoValue"], "{}", function.name);
    let limit = number(&Yaml::from("ApiConcurrency"), parameters);
    assert!(limit > 0, "without a limit of its own {} takes as many connections as the account lets it", function.name);
    limit
}

/// The parameters of the template, by default and in each environment of `samconfig.toml`.
fn environments(template: &Yaml) -> BTreeMap<String, BTreeMap<String, String>> {
    let text = |value: &Yaml| match (value.as_str(), value.as_u64(), value.as_f64()) {
        (Some(text), ..) => text.to_owned(),
        (_, Some(number), _) => number.to_string(),
        (.., Some(number)) => number.to_string(),
        _ => panic!("{value:?} is no default"),
    };
    let defaults =
        entries(&template["Parameters"]).map(|(name, parameter)| (name.to_owned(), text(&parameter["Default"])));
    let defaults: BTreeMap<_, _> = defaults.collect();
    let config = read("samconfig.toml");
    let environment = Regex::new(r"(?m)^\[(\w+)\.deploy\.parameters\]$").expect("a pattern");
    let setting = Regex::new(r#"(?m)^    "(\w+)=(.*)","#).expect("a pattern");
    let begins: Vec<_> = environment.captures_iter(&config).collect();
    let mut all = BTreeMap::from([("default".to_owned(), defaults.clone())]);
    for (nth, begin) in begins.iter().enumerate() {
        let end = begins.get(nth + 1).and_then(|next| next.get(0)).map_or(config.len(), |next| next.start());
        let mut parameters = defaults.clone();
        for found in setting.captures_iter(&config[begin.get(0).expect("all of it").end()..end]) {
            let known = parameters.insert(found[1].to_owned(), found[2].to_owned());
            assert!(known.is_some(), "{}: the template has no parameter {}", &begin[1], &found[1]);
        }
        all.insert(begin[1].to_owned(), parameters);
    }
    assert_eq!(all.keys().collect::<Vec<_>>(), ["default", "dev", "prod", "staging"]);
    all
}

/// Connections that are no function's: the operator's, those of RDS itself, and some for a bad day.
const OTHER_CONNECTIONS: u64 = 20;

#[test]
fn functions_with_all_their_connections_fit_into_the_database_twice() {
    let template = yaml("template.yaml");
    for (environment, parameters) in environments(&template) {
        let get = |name: &str| parameters[name].parse::<f64>().unwrap_or_else(|_| panic!("{name} is no number"));
        let taken = functions(&template)
            .iter()
            .map(|function| concurrency(function, &parameters) * function.connections)
            .sum::<u64>();
        // twice: after a deployment the environments of before keep theirs until they have been idle for ten minutes
        let wanted = 2 * taken + OTHER_CONNECTIONS;
        let most = get("DatabaseMaxConnections");
        assert!(wanted as f64 <= most, "{environment}: DatabaseMaxConnections is {most}, and {wanted} are wanted");
        // what Aurora itself would let in with so much memory, and under so little at rest
        // https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-serverless-v2.setting-capacity.html
        let with_memory = get("DatabaseMaxCapacity") * f64::from(1_u32 << 31) / 9_531_392.0;
        assert!(most <= with_memory, "{environment}: {most} connections want more than DatabaseMaxCapacity");
        assert!(
            most <= 2000.0 || get("DatabaseMinCapacity") >= 1.0,
            "{environment}: over 2000 connections at under 1 unit"
        );
    }
}

#[test]
fn functions_open_as_many_connections_as_the_template_says() {
    let connection = Regex::new(r"\.open\(&aws, |\.connect\(\)|migrate_at\(").expect("a pattern");
    let readers = Regex::new(r"const READERS: usize = (\d+);").expect("a pattern");
    for function in functions(&yaml("template.yaml")) {
        let sources = function.sources();
        let mut opened = connection.find_iter(&sources).count() as u64;
        if sources.contains(".another()") {
            let readers = readers.captures(&sources).unwrap_or_else(|| panic!("{}: how many readers?", function.name));
            opened += readers[1].parse::<u64>().expect("a number");
        }
        assert_eq!(function.connections, opened, "{}", function.name);
    }
}

#[test]
fn a_message_stays_hidden_for_six_times_the_timeout_of_its_function() {
    let template = yaml("template.yaml");
    let queues: BTreeMap<_, _> = resources(&template, "AWS::SQS::Queue").collect();
    let mut read = BTreeSet::new();
    let all = functions(&template);
    for function in &all {
        for event in function.events("SQS") {
            let queue = event["Queue"].as_str().and_then(|arn| arn.strip_suffix(".Arn")).expect("the ARN of a queue");
            let hidden = queues[queue]["VisibilityTimeout"].as_u64().expect("a time");
            let timeout = function.properties["Timeout"].as_u64().expect("a time");
            assert!(hidden >= 6 * timeout, "{queue} hides for {hidden} s, {} takes {timeout} s", function.name);
            assert!(read.insert(queue), "{queue} is read twice");
            assert_eq!(
                texts(&event["FunctionResponseTypes"]),
                ["ReportBatchItemFailures"],
                "{}: {queue}",
                function.name
            );
        }
    }
    assert_eq!(read, queues.keys().copied().collect(), "queues that are read, and queues");
}

/// The alarms of a metric, each as all texts in it.
fn alarms<'a>(observability: &'a Yaml, metric: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    resources(observability, "AWS::CloudWatch::Alarm")
        .map(|(_, alarm)| texts(alarm))
        .filter(move |texts| texts.contains(&metric))
}

#[test]
fn every_queue_has_dead_letters_and_alarms() {
    let (template, observability) = (yaml("template.yaml"), yaml("infra/observability.yaml"));
    let passed: BTreeMap<_, _> = entries(&template["Resources"]["Observability"]["Properties"]["Parameters"])
        .filter_map(|(parameter, value)| Some((value.as_str()?, parameter)))
        .collect();
    let has_alarm = |queue: &str, metric: &str| {
        let attribute = format!("{queue}.QueueName");
        let parameter = passed.get(attribute.as_str()).unwrap_or_else(|| panic!("the alarms do not know {queue}"));
        assert!(
            alarms(&observability, metric).any(|alarm| alarm.contains(parameter)),
            "{queue} has no alarm of {metric}"
        );
    };
    let queues: BTreeMap<_, _> = resources(&template, "AWS::SQS::Queue").collect();
    let mut dead_letters = BTreeSet::new();
    for (queue, properties) in &queues {
        let redrive = &properties["RedrivePolicy"];
        let Some(target) = redrive["deadLetterTargetArn"].as_str().and_then(|arn| arn.strip_suffix(".Arn")) else {
            continue;
        };
        assert!(redrive["maxReceiveCount"].as_u64() >= Some(5), "{queue} gives up too soon");
        assert_eq!(queues[target]["MessageRetentionPeriod"].as_u64(), Some(14 * 24 * 3600), "{target}");
        assert!(dead_letters.insert(target), "{target} is of two queues");
        has_alarm(queue, "ApproximateAgeOfOldestMessage");
        has_alarm(target, "ApproximateNumberOfMessagesVisible");
    }
    for queue in queues.keys() {
        let is_sender = !queues[queue]["RedrivePolicy"].is_null();
        assert!(
            is_sender != dead_letters.contains(queue),
            "{queue} is neither a queue with dead letters nor one of them"
        );
    }
}

#[test]
fn alarms_are_of_what_is_measured_and_stand_in_the_runbook() {
    let (template, observability) = (yaml("template.yaml"), yaml("infra/observability.yaml"));
    let (runbook, telemetry) = (read("infra/README.md"), read("shared/lambda/src/telemetry.rs"));
    for (logical, alarm) in resources(&observability, "AWS::CloudWatch::Alarm") {
        let name = alarm["AlarmName"].as_str().and_then(|name| name.strip_prefix("${Name}-")).expect("a name");
        assert!(runbook.contains(&format!("`{name}`")), "infra/README.md does not say what to do about {name}");
        assert!(alarm["AlarmActions"].is_sequence(), "{logical} wakes nobody");
        let metrics =
            alarm["Metrics"].as_sequence().into_iter().flatten().map(|metric| &metric["MetricStat"]["Metric"]);
        for metric in metrics.chain([alarm]).filter(|metric| metric["Namespace"] == "Intake") {
            let name = metric["MetricName"].as_str().expect("a metric");
            assert!(telemetry.contains(&format!("(\"{name}\", Unit::")), "{logical}: nobody writes {name}");
        }
    }
    for function in functions(&template).iter().filter(|function| function.name != "migrate") {
        let logical = in_words(&function.name.replace('-', "_"));
        let parameter = format!("{logical}Name");
        let has_alarm = alarms(&observability, "Errors").any(|alarm| alarm.contains(&parameter.as_str()));
        assert!(has_alarm, "{} has no alarm", function.name);
    }
}

/// What the local stack goes by, and what a function asks its environment for when it starts.
#[test]
fn every_function_is_deployed_with_the_environment_that_it_reads() {
    let template = yaml("template.yaml");
    let deployed: BTreeSet<_> = functions(&template).iter().map(|function| function.name.to_owned()).collect();
    let folders =
        std::fs::read_dir(workspace("functions")).expect("the functions").map(|entry| entry.expect("an entry").path());
    let crates = folders.filter(|path| path.is_dir()).filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
    assert_eq!(deployed, crates.collect(), "functions of the template, and crates");

    let required = Regex::new(r#"\.(?:text|number|number_from_0)\("([A-Z_]+)"\)"#).expect("a pattern");
    let lanes = Regex::new(r#"LaneUrls::read\(&mut environment, "(\w+)"\)"#).expect("a pattern");
    let shared = sources(&workspace("shared/lambda/src"));
    for function in functions(&template) {
        let (sources, environment) = (function.sources(), function.environment());
        let mut wanted: BTreeSet<_> = required.captures_iter(&sources).map(|found| found[1].to_owned()).collect();
        if sources.contains("EdgeSettings::read(") {
            wanted.extend(["IDEMPOTENCY_TABLE", "RATE_TABLE", "KEY_CACHE_SECONDS"].map(str::to_owned));
        }
        for kind in lanes.captures_iter(&sources) {
            wanted.extend([format!("{}_QUEUE_URL", &kind[1]), format!("URGENT_{}_QUEUE_URL", &kind[1])]);
        }
        for (call, prefix) in [("DatabaseAddress::read(", ""), ("DatabaseAddress::read_of_owner(", "OWNER_")] {
            if sources.contains(call) {
                wanted.extend(["URL", "LOGIN"].map(|what| format!("{prefix}DATABASE_{what}")));
                assert!(
                    !prefix.is_empty() || function.name == "migrate" || environment.contains_key("MIGRATION"),
                    "{} does not wait for the migrations",
                    function.name
                );
            }
        }
        let missing: Vec<_> = wanted.iter().filter(|name| !environment.contains_key(name.as_str())).collect();
        assert!(missing.is_empty(), "{} asks for {missing:?}", function.name);
        let is_read = |name: &str| {
            wanted.contains(name)
                || name == "MIGRATION"
                || [&sources, &shared].iter().any(|text| text.contains(&format!("\"{name}\"")))
        };
        let idle: Vec<_> = environment.keys().filter(|name| !is_read(name)).collect();
        assert!(idle.is_empty(), "{} is told {idle:?}, and asks for none of it", function.name);
    }
}
