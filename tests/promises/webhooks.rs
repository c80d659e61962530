//! A shop that wants to be told of the end of its sessions is told: once, signed, and again when it was not listening.

use crate::support::{File, Ground, Session, Shop, customer, ndjson};
use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use intake_domain::webhook::{Message, Secret, TOLERANCE};
use intake_postgres::{Database, webhooks};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long something may take on a machine that does other things besides.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request as it came in.
#[derive(Clone)]
pub(super) struct Call {
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// A shop's server. It answers with the statuses in their order, and with the last of them ever after.
pub(super) struct Receiver {
    port: u16,
    calls: Arc<Mutex<Vec<Call>>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// A server that takes `pause` before each answer.
    pub(super) async fn open(statuses: &'static [u16], pause: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, calls) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Vec::new())));
        let server = tokio::spawn({
            let calls = Arc::clone(&calls);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let calls = Arc::clone(&calls);
                    // one that is cut off has not called
                    tokio::spawn(async move { answer(stream, &calls, statuses, pause).await.ok() });
                }
            }
        });
        Ok(Self { port, calls, server })
    }

    pub(super) fn url(&self) -> String {
        format!("http://localhost:{}/hook?shop=1", self.port)
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().map(|calls| calls.clone()).unwrap_or_default()
    }

    /// Waits until it was called so often.
    pub(super) async fn called(&self, times: usize) -> Result<Vec<Call>> {
        let since = Instant::now();
        while self.calls().len() < times {
            ensure!(since.elapsed() < PATIENCE, "called {} times of {times}", self.calls().len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self.calls())
    }
}

/// Reads one request, notes it, and answers.
async fn answer(
    mut stream: TcpStream,
    calls: &Mutex<Vec<Call>>,
    statuses: &'static [u16],
    pause: Duration,
) -> Result<()> {
    let mut bytes = Vec::new();
    let head = loop {
        ensure!(stream.read_buf(&mut bytes).await? > 0, "cut off");
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec())?;
    let mut lines = text.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers.get("content-length").context("a length")?.parse()?;
    while bytes.len() < head + 4 + length {
        ensure!(stream.read_buf(&mut bytes).await? > 0, "cut off");
    }
    let call = Call { path, headers, body: bytes.split_off(head + 4) };
    let number = calls.lock().map(|mut calls| {
        calls.push(call);
        calls.len()
    });
    let number = number.unwrap_or(1);
    tokio::time::sleep(pause).await;
    let status = statuses[number.min(statuses.len()) - 1];
    let answer =
        format!("HTTP/1.1 {status} X\r\nlocation: /elsewhere\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

fn loader(ground: &Ground) -> Result<Database> {
    Ok(Database::new(&ground.endpoints.loader_database_url, "tests")?)
}

/// A session that has ended without a file having been sent, and its webhook, which nobody has called yet. Its URL is written
/// past all that is said against it when a session is created.
async fn ended(shop: &Shop, url: &str) -> Result<(Session, Uuid)> {
    let session = shop.declare(&[File::new("customers.ndjson", ndjson([customer(1)]))]).await?;
    let sql = "update upload_sessions set callback_url = $2 where session_id = $1";
    ensure!(shop.books.execute(sql, &[&session.id, &url]).await? == 1, "a session");
    let sql = "update files set state = 'failed', finished_at = now(), error_code = 'X' where session_id = $1";
    ensure!(shop.books.execute(sql, &[&session.id]).await? == 1, "a file");
    let open = async |scope: &mut intake_postgres::Scope<'_>| webhooks::open(scope, session.id).await;
    let webhook = loader(&shop.ground)?.run("open", shop.id, open).await?.context("a webhook")?;
    Ok((session, webhook))
}

fn message(shop: &Shop, webhook: Uuid) -> String {
    json!({"tenant_id": shop.id, "webhook_id": webhook}).to_string()
}

/// The webhook of a session as the ledger has it.
async fn logged(shop: &Shop, session: &Session) -> Result<webhooks::WebhookStatus> {
    let read = async |scope: &mut intake_postgres::Scope<'_>| webhooks::of_session(scope, session.id).await;
    loader(&shop.ground)?.run("of_session", shop.id, read).await?.context("a webhook")
}

/// Waits until so many attempts were logged.
async fn attempted(shop: &Shop, session: &Session, times: usize) -> Result<webhooks::WebhookStatus> {
    let since = Instant::now();
    loop {
        let webhook = logged(shop, session).await?;
        if webhook.attempts.len() >= times {
            return Ok(webhook);
        }
        ensure!(since.elapsed() < PATIENCE, "{times} attempts expected: {webhook:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn statuses(webhook: &webhooks::WebhookStatus) -> Vec<Option<u16>> {
    webhook.attempts.iter().map(|logged| logged.attempt.status).collect()
}

/// Holds a call against the tenant's secret.
async fn verify(shop: &Shop, call: &Call) -> Result<()> {
    let client = intake_postgres::connect(&shop.ground.endpoints.owner_database_url).await?;
    let secret = webhooks::secret(&client, shop.id, [0; 32]).await?.context("a secret")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let timestamp = call.header("webhook-timestamp").parse()?;
    let message = Message { id: call.header("webhook-id"), timestamp, body: &call.body };
    Ok(Secret::new(&secret)?.verify(&message, call.header("webhook-signature"), now, TOLERANCE)?)
}

pub(super) async fn the_end_of_a_session_is_told_once_and_signed(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[204], Duration::ZERO).await?;
    let rows = [customer(1), customer(2), json!({"name": "nobody"}), customer(1)];
    let file = File::new("customers.ndjson", ndjson(rows));
    let session = shop.create(&json!({"files": [file.declared()], "callback_url": receiver.url()})).await?;
    assert_eq!(shop.status(&session).await?["webhook"], Value::Null, "before the end");
    shop.upload(&session, std::slice::from_ref(&file)).await?;
    let status = shop.finished(&session).await?;

    let [call] = &receiver.called(1).await?[..] else { bail!("one call") };
    verify(&shop, call).await?;
    assert_eq!(call.path, "/hook?shop=1");
    assert_eq!(call.header("content-type"), "application/json");
    assert_eq!(call.header("user-agent"), format!("Intake/{}", env!("CARGO_PKG_VERSION")));
    let body: Value = serde_json::from_slice(&call.body)?;
    let rows = json!({"accepted": 4, "inserted": 2, "updated": 0, "unchanged": 1, "rejected": 1});
    let told = json!({
        "type": "ingest.session.finished",
        "timestamp": status["files"][0]["finished_at"],
        "data": {
            "upload_token": session.token,
            "upload_id": session.id,
            "state": "completed_with_errors",
            "status": "completed",
            "rows": rows,
            "files": [{
                "file_id": session.file_id(0),
                "name": "customers.ndjson",
                "dataset": "customers",
                "state": "completed_with_errors",
                "rows": rows,
            }],
        },
    });
    assert_eq!(body, told);

    let webhook = attempted(&shop, &session, 1).await?;
    assert_eq!((webhook.state.as_str(), webhook.next_attempt_at), ("delivered", None));
    assert_eq!((webhook.webhook_id.to_string().as_str(), webhook.url), (call.header("webhook-id"), receiver.url()));
    let shown = &shop.status(&session).await?["webhook"];
    assert_eq!((&shown["webhook_id"], &shown["state"]), (&json!(webhook.webhook_id), &"delivered".into()));
    assert_eq!((&shown["url"], &shown["next_attempt_at"]), (&json!(receiver.url()), &Value::Null));
    let attempt = &shown["attempts"][0];
    assert_eq!((&attempt["attempt"], &attempt["status"], &attempt["error"]), (&1.into(), &204.into(), &Value::Null));
    assert!(attempt["attempted_at"].is_string() && attempt["elapsed_ms"].is_u64(), "{shown}");
    // what has been told is not told again
    for _ in 0..5 {
        assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook.webhook_id)).await?);
    }
    assert_eq!(receiver.calls().len(), 1);
    Ok(())
}

pub(super) async fn of_many_at_once_one_makes_the_call(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let slow = Duration::from_secs(3);
    let receiver = Receiver::open(&[200], slow).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    // as many as there may be workers that see the end at the same time
    let opened = (0..8).map(async |_| {
        let open = async |scope: &mut intake_postgres::Scope<'_>| webhooks::open(scope, session.id).await;
        anyhow::Ok(loader(&ground)?.run("open", shop.id, open).await?)
    });
    let opened: BTreeSet<_> = try_join_all(opened).await?.into_iter().collect();
    assert_eq!(opened, BTreeSet::from([Some(webhook)]));
    let sql = "select webhook_id::text from webhooks where session_id = $1";
    assert_eq!(shop.books.texts(sql, &[&session.id]).await?, [webhook.to_string()]);

    let message = message(&shop, webhook);
    let delivered = (0..5).map(async |_| {
        let since = Instant::now();
        ensure!(ground.deliver("DeliverWebhook", &message).await?, "acknowledged");
        Ok(since.elapsed())
    });
    let took = try_join_all(delivered).await?;
    assert!(took.iter().any(|took| *took < slow), "some came while another was calling: {took:?}");
    let webhook = attempted(&shop, &session, 1).await?;
    assert_eq!((webhook.state.as_str(), statuses(&webhook)), ("delivered", vec![Some(200)]));
    assert_eq!(receiver.calls().len(), 1);
    Ok(())
}

pub(super) async fn a_receiver_that_fails_is_called_again(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[500, 302, 200], Duration::ZERO).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    let since = Instant::now();
    ground.send("webhooks", &message(&shop, webhook)).await?;
    attempted(&shop, &session, 2).await?;
    assert!(since.elapsed() > Duration::from_secs(4), "the second comes after five seconds, a tenth more or less");

    // the third would come after five minutes
    let early = "update webhooks set next_attempt_at = now() where webhook_id = $1";
    assert_eq!(shop.books.execute(early, &[&webhook]).await?, 1);
    ground.send("webhooks", &message(&shop, webhook)).await?;
    let logged = attempted(&shop, &session, 3).await?;
    assert_eq!((logged.state.as_str(), statuses(&logged)), ("delivered", vec![Some(500), Some(302), Some(200)]));
    assert_eq!(logged.attempts[1].attempt.error.as_deref(), Some("redirects are not followed"));

    let calls = receiver.calls();
    assert_eq!(calls.iter().map(|call| call.path.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["/hook?shop=1"]));
    for call in &calls {
        verify(&shop, call).await?;
        assert_eq!((call.header("webhook-id"), &call.body), (webhook.to_string().as_str(), &calls[0].body));
    }
    assert!(calls[0].header("webhook-timestamp") < calls[1].header("webhook-timestamp"), "of each attempt");
    Ok(())
}

pub(super) async fn a_new_secret_signs_from_then_on(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[500, 200], Duration::ZERO).await?;
    let (_, webhook) = ended(&shop, &receiver.url()).await?;
    assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
    let first = receiver.called(1).await?;
    verify(&shop, &first[0]).await?;
    let client = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    assert!(webhooks::rotate_secret(&client, shop.id, [9; 32]).await?);
    assert!(!webhooks::rotate_secret(&client, Uuid::now_v7(), [9; 32]).await?, "a tenant that does not exist");
    assert_eq!(webhooks::secret(&client, shop.id, [0; 32]).await?, Some(vec![9; 32]));
    assert_eq!(webhooks::secret(&client, Uuid::now_v7(), [0; 32]).await?, None);
    assert!(verify(&shop, &first[0]).await.is_err(), "signed with the old one");
    verify(&shop, &receiver.called(2).await?[1]).await
}

pub(super) async fn a_receiver_that_is_gone_is_left_alone(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[410], Duration::ZERO).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    for _ in 0..2 {
        assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
    }
    let webhook = logged(&shop, &session).await?;
    assert_eq!((webhook.state.as_str(), webhook.next_attempt_at), ("failed", None));
    assert_eq!((statuses(&webhook), receiver.calls().len()), (vec![Some(410)], 1));
    Ok(())
}

pub(super) async fn after_eight_attempts_nobody_is_called_any_more(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[503], Duration::ZERO).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    let pause = "select extract(epoch from next_attempt_at - now())::int::text from webhooks where webhook_id = $1";
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
        pauses.extend(shop.books.texts(pause, &[&webhook]).await?);
        let early = "update webhooks set next_attempt_at = now() where webhook_id = $1";
        assert_eq!(shop.books.execute(early, &[&webhook]).await?, 1);
    }
    for (pause, scheduled) in pauses.iter().zip([5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0]) {
        let pause: f64 = pause.parse()?;
        assert!(pause >= scheduled * 0.89 - 2.0 && pause <= scheduled * 1.11, "{pauses:?}");
    }
    assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
    let webhook = logged(&shop, &session).await?;
    assert_eq!((webhook.state.as_str(), statuses(&webhook)), ("failed", vec![Some(503); 8]));
    assert_eq!(receiver.calls().len(), 8);
    Ok(())
}

pub(super) async fn nobody_is_called_inside_of_our_network(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[200], Duration::ZERO).await?;
    let port = receiver.port;
    for (url, error) in [
        (format!("http://127.0.0.1:{port}/"), "the URL must begin with https://"),
        (format!("https://127.0.0.1:{port}/"), "the address 127.0.0.1 is not public: loopback"),
        (format!("https://[::1]:{port}/"), "the address ::1 is not public: loopback"),
        (format!("https://[::ffff:127.0.0.1]:{port}/"), "the address ::ffff:127.0.0.1 is not public: loopback"),
        ("http://169.254.169.254/latest/meta-data/".to_owned(), "the URL must begin with https://"),
        ("https://169.254.169.254/".to_owned(), "the address 169.254.169.254 is not public: link-local"),
        (format!("https://localhost.:{port}/"), "the host `localhost.` is no public name"),
    ] {
        let refused = shop.post("/api/v1/ingest/sessions", &json!({"callback_url": url})).await?.json(422)?;
        let told = json!([{"pointer": "/callback_url", "code": "INVALID_CALLBACK_URL", "detail": error}]);
        assert_eq!(refused["errors"], told, "{url}");
        // one that was allowed once is refused when it is called, too
        let (session, webhook) = ended(&shop, &url).await?;
        assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
        let logged = logged(&shop, &session).await?;
        assert_eq!((logged.state.as_str(), statuses(&logged)), ("pending", vec![None]), "{url}");
        assert_eq!(logged.attempts[0].attempt.error.as_deref(), Some(error), "{url}");
    }
    assert!(receiver.calls().is_empty());
    Ok(())
}

pub(super) async fn a_call_for_an_end_that_is_no_more_is_not_made(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let receiver = Receiver::open(&[200], Duration::ZERO).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    let resumed = "update files set state = 'loading', finished_at = null where session_id = $1";
    assert_eq!(shop.books.execute(resumed, &[&session.id]).await?, 1);
    assert!(ground.deliver("DeliverWebhook", &message(&shop, webhook)).await?);
    let noted = logged(&shop, &session).await?;
    assert_eq!((noted.state.as_str(), statuses(&noted)), ("failed", vec![None]));
    assert!(receiver.calls().is_empty());

    let again = "update files set state = 'completed', finished_at = now() where session_id = $1";
    assert_eq!(shop.books.execute(again, &[&session.id]).await?, 1);
    let open = async |scope: &mut intake_postgres::Scope<'_>| webhooks::open(scope, session.id).await;
    let second = loader(&ground)?.run("open", shop.id, open).await?.context("another")?;
    assert_ne!(second, webhook);
    assert!(ground.deliver("DeliverWebhook", &message(&shop, second)).await?);
    assert_eq!(receiver.called(1).await?[0].header("webhook-id"), second.to_string());
    Ok(())
}

pub(super) async fn a_function_that_dies_at_any_step_calls_again_under_the_same_id(ground: Arc<Ground>) -> Result<()> {
    let before = ground.hide_for(&BTreeMap::from([("webhooks".to_owned(), "2".to_owned())])).await?;
    let all = || vec![Some(500), Some(200)];
    // what was answered to a call that was not recorded is forgotten
    let points = [("loaded", all()), ("called", vec![Some(200)]), ("recorded", all()), ("put-off", all())];
    let died = points.into_iter().map(|(point, recorded)| {
        let ground = Arc::clone(&ground);
        async move { die_at(&ground, &format!("deliver-webhook.{point}"), recorded).await.context(point) }
    });
    let died = try_join_all(died).await;
    ground.hide_for(&before).await?;
    died.map(drop)
}

/// Kills the function at a point while a receiver first fails and then does not, and expects these statuses in the log.
async fn die_at(ground: &Arc<Ground>, point: &str, recorded: Vec<Option<u16>>) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let receiver = Receiver::open(&[500, 200], Duration::ZERO).await?;
    let (session, webhook) = ended(&shop, &receiver.url()).await?;
    ground.arm(point, shop.id, "kill")?;
    ground.send("webhooks", &message(&shop, webhook)).await?;
    let logged = attempted(&shop, &session, recorded.len()).await?;
    ensure!((logged.state.as_str(), statuses(&logged)) == ("delivered", recorded), "{logged:?}");
    ensure!(ground.armed(point, shop.id).is_none(), "nothing passed the point");
    let calls = receiver.calls();
    ensure!(calls.len() == 2, "{} calls", calls.len());
    let same = |call: &Call| call.header("webhook-id") == webhook.to_string() && call.body == calls[0].body;
    ensure!(calls.iter().all(same), "every call has the same id and body");
    Ok(())
}
