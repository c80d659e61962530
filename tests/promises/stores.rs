//! How functions use S3 and SQS, on the emulator that all other tests run on, and on LocalStack: what holds on both is nobody's
//! peculiarity.

use crate::support::{Ground, LocalStack};
use anyhow::{Context, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Event, NotificationConfiguration, QueueConfiguration, VersioningConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use bytes::{Bytes, BytesMut};
use intake_aws::messages::ObjectCreated;
use intake_aws::{DeadLetters, Objects, Presigned, Queue, URL_LIFETIME};
use intake_domain::object_key::FileKey;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The smallest part that S3 takes before the last one.
const PART: usize = 5 << 20;

/// How long a message may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// A bucket and queues, made for one test and tied together as the template ties its own.
struct Stores {
    aws: SdkConfig,
    http: reqwest::Client,
    sqs: aws_sdk_sqs::Client,
    objects: Objects,
    /// Where it is told what was uploaded.
    uploads: String,
    queue: String,
    dead_letters: String,
}

impl Stores {
    async fn make(aws: SdkConfig) -> Result<Self> {
        let s3 = aws_sdk_s3::config::Builder::from(&aws).force_path_style(true).build();
        let (s3, sqs) = (aws_sdk_s3::Client::from_conf(s3), aws_sdk_sqs::Client::new(&aws));
        let name = Uuid::now_v7().simple().to_string();
        let make = async |suffix: &str, attributes: Option<String>| {
            let queue = sqs.create_queue().queue_name(format!("{name}-{suffix}"));
            let queue = match attributes {
                Some(policy) => queue.attributes(QueueAttributeName::RedrivePolicy, policy),
                None => queue,
            };
            let url = queue.send().await?.queue_url.context("a URL")?;
            let arn = sqs.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
            let arn = arn.send().await?.attributes.unwrap_or_default().remove(&QueueAttributeName::QueueArn);
            anyhow::Ok((url, arn.context("an ARN")?))
        };
        let (uploads, uploads_arn) = make("uploads", None).await?;
        let (dead_letters, dead_arn) = make("dead-letters", None).await?;
        let policy = json!({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 1}).to_string();
        let (queue, _) = make("work", Some(policy)).await?;

        s3.create_bucket().bucket(&name).send().await?;
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(&name).versioning_configuration(versions).send().await?;
        let told = QueueConfiguration::builder().queue_arn(uploads_arn).events(Event::from("s3:ObjectCreated:*"));
        let told = NotificationConfiguration::builder().queue_configurations(told.build()?).build();
        s3.put_bucket_notification_configuration().bucket(&name).notification_configuration(told).send().await?;
        let objects = Objects::new(&aws, name);
        Ok(Self { aws, http: reqwest::Client::new(), sqs, objects, uploads, queue, dead_letters })
    }

    async fn put(&self, to: &Presigned, body: &[u8]) -> Result<Response> {
        let put = to.headers.iter().fold(self.http.put(&to.url), |put, (name, value)| put.header(name, value));
        Ok(put.body(body.to_owned()).send().await?)
    }

    /// The bodies of what is in a queue, as many as are awaited, removed from it.
    async fn received(&self, queue: &str, count: usize) -> Result<Vec<String>> {
        let (mut bodies, since) = (Vec::new(), Instant::now());
        while bodies.len() < count {
            ensure!(since.elapsed() < PATIENCE, "{} messages of {count}: {bodies:?}", bodies.len());
            let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(1);
            for message in receive.send().await?.messages.unwrap_or_default() {
                let handle = message.receipt_handle.context("a handle")?;
                self.sqs.delete_message().queue_url(queue).receipt_handle(handle).send().await?;
                bodies.push(message.body.context("a body")?);
            }
        }
        Ok(bodies)
    }

    /// The file that the next message about uploads names.
    async fn told(&self) -> Result<FileKey> {
        loop {
            for body in self.received(&self.uploads, 1).await? {
                let created: ObjectCreated = serde_json::from_str(&body).context(body)?;
                // S3's first message is a test, and names none
                if let Some(key) = created.keys().next() {
                    return FileKey::parse_encoded(key).with_context(|| key.to_owned());
                }
            }
        }
    }
}

fn a_file() -> FileKey {
    FileKey { tenant_id: Uuid::now_v7(), session_id: Uuid::now_v7(), file_id: Uuid::now_v7() }
}

/// A file in one piece is there once, and told of.
async fn a_small_file(stores: &Stores) -> Result<()> {
    let (file, body) = (a_file(), b"{\"a\": 1}\n".repeat(1_000));
    let (key, digest) = (file.to_string(), Sha256::digest(&body));
    let url = stores.objects.presign_put(&key, body.len() as i64, Some(&digest)).await?;
    let forged = Presigned { url: url.url.replace(&file.file_id.to_string(), &Uuid::now_v7().to_string()), ..url };
    ensure!(stores.put(&forged, &body).await?.status() == StatusCode::FORBIDDEN, "signed for another object");
    let url = stores.objects.presign_put(&key, body.len() as i64, Some(&digest)).await?;
    ensure!(stores.put(&url, &body).await?.status().is_success());
    assert_eq!(stores.told().await?, file);
    let again = stores.put(&url, &body).await?;
    ensure!(again.status() == StatusCode::PRECONDITION_FAILED, "one lies there already: {again:?}");

    let head = stores.objects.head(&key).await?.context("an object")?;
    ensure!(head.size_bytes == body.len() as u64);
    ensure!(stores.objects.sha256(&key, &head.etag, head.size_bytes).await? == *digest);
    stores.objects.create(&key, Bytes::from_static(b"other")).await?;
    ensure!(stores.objects.get(&key).await?.as_deref() == Some(&body[..]), "what lies there stays");
    let download = stores.objects.presign_get(&key, "orders.ndjson", "application/x-ndjson", URL_LIFETIME).await?;
    let some = stores.http.get(&download.url).header("range", "bytes=2-10").send().await?;
    ensure!(some.status() == StatusCode::PARTIAL_CONTENT && some.bytes().await? == body[2..=10]);
    ensure!(
        stores.objects.head("tenants/none").await?.is_none() && stores.objects.get("tenants/none").await?.is_none()
    );
    Ok(())
}

/// A file in parts is one object when all are there, and told of once.
async fn a_large_file(stores: &Stores) -> Result<()> {
    let (file, body) = (a_file(), (0..PART + 1_000).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let key = file.to_string();
    let upload = stores.objects.begin_multipart(&key).await?;
    for (number, part) in (1..).zip(body.chunks(PART)) {
        let url = stores.objects.presign_part(&key, &upload, number, part.len() as i64).await?;
        ensure!(stores.put(&url, part).await?.status().is_success());
    }
    let parts = stores.objects.parts(&key, &upload).await?.context("parts")?;
    assert_eq!(parts.iter().map(|part| part.size_bytes).collect::<Vec<_>>(), [PART as u64, 1_000]);
    stores.objects.complete_multipart(&key, &upload, parts).await?;
    assert_eq!(stores.told().await?, file);
    let head = stores.objects.head(&key).await?.context("an object")?;
    let (start, mut across) = (PART - 500, BytesMut::new());
    stores.objects.read_range(&key, &head.etag, start as u64, head.size_bytes, &mut across).await?;
    ensure!(across == body[start..], "a range across the parts");

    // another one for the same object comes too late
    let late = stores.objects.begin_multipart(&key).await?;
    stores.objects.put_part(&key, &late, 1, Bytes::from_static(b"other")).await?;
    let parts = stores.objects.parts(&key, &late).await?.context("parts")?;
    stores.objects.complete_multipart(&key, &late, parts).await?;
    ensure!(stores.objects.head(&key).await?.context("an object")?.etag == head.etag, "what lies there stays");
    ensure!(stores.objects.parts(&key, &late).await?.is_none());
    stores.objects.abort_multipart(&key, &late).await?;

    // who reads goes by a version, and hears that it was replaced
    stores.objects.put(&key, Bytes::from_static(b"other")).await?;
    let replaced = stores.objects.read_range(&key, &head.etag, 0, 10, &mut across).await;
    ensure!(matches!(replaced, Err(intake_aws::Error::ObjectReplaced)), "{replaced:?}");
    assert_eq!(stores.told().await?, file);
    Ok(())
}

/// What is removed for good leaves no version behind.
async fn a_removal(stores: &Stores) -> Result<()> {
    let prefix = format!("exports/{}/", Uuid::now_v7());
    let key = format!("{prefix}orders.csv");
    for body in ["one", "another"] {
        stores.objects.put(&key, body.into()).await?;
    }
    stores.objects.delete(std::slice::from_ref(&key)).await?;
    ensure!(stores.objects.get(&key).await?.is_none());
    stores.objects.begin_multipart(&key).await?;
    assert_eq!(stores.objects.count_under(&prefix).await?, 4, "two versions, a mark, an upload");
    assert_eq!(stores.objects.remove_under(&prefix).await?, 4);
    assert_eq!(stores.objects.count_under(&prefix).await?, 0);
    Ok(())
}

/// Messages come once each, no sooner than they should; one that nobody could handle can be sent back.
async fn messages(stores: &Stores) -> Result<()> {
    let queue = Queue::new(&stores.aws, stores.queue.clone());
    let all: BTreeSet<_> = (0..25).map(|number| json!({"number": number}).to_string()).collect();
    let messages: Vec<Value> = all.iter().map(|body| serde_json::from_str(body)).collect::<Result<_, _>>()?;
    queue.send_all(&messages).await?;
    assert_eq!(stores.received(&stores.queue, 25).await?.into_iter().collect::<BTreeSet<_>>(), all);

    let since = Instant::now();
    queue.send_later(&json!("later"), Duration::from_secs(2)).await?;
    assert_eq!(stores.received(&stores.queue, 1).await?, ["\"later\""]);
    ensure!(since.elapsed() >= Duration::from_millis(1_900), "{:?}", since.elapsed());

    queue.send_all(&[json!("poison")]).await?;
    let dead = DeadLetters::new(&stores.aws, stores.queue.clone(), stores.dead_letters.clone());
    let (mut received, since) = (0, Instant::now());
    while dead.depth().await?.visible == 0 {
        ensure!(since.elapsed() < PATIENCE, "no dead letter after it was received {received} times");
        let receive = stores.sqs.receive_message().queue_url(&stores.queue).visibility_timeout(0).wait_time_seconds(1);
        received += receive.send().await?.messages().len();
    }
    ensure!(received == 1, "it was received {received} times");
    assert_eq!(dead.send_back().await?, 1);
    assert_eq!(stores.received(&stores.queue, 1).await?, ["\"poison\""]);
    assert_eq!((dead.send_back().await?, dead.depth().await?), (0, intake_aws::Depth::default()));
    Ok(())
}

async fn all(aws: SdkConfig) -> Result<()> {
    let stores = Stores::make(aws).await?;
    a_small_file(&stores).await.context("a small file")?;
    a_large_file(&stores).await.context("a large file")?;
    a_removal(&stores).await.context("a removal")?;
    messages(&stores).await.context("messages")
}

pub(super) async fn they_are_used_as_the_emulator_has_them(ground: Arc<Ground>) -> Result<()> {
    all(ground.aws.clone()).await
}

pub(super) async fn they_are_used_as_localstack_has_them(ground: Arc<Ground>) -> Result<()> {
    let localstack = LocalStack::start(&ground).await?;
    all(intake_aws::load_from(&localstack.url).await).await
}
