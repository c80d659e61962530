//! A request with an `Idempotency-Key` has its effect once, whatever dies, and its answer is given again.

use crate::support::{Answer, Ground, Line, PART_BYTES, Probe, Session, Shop, counts, customer, event, ndjson, order};
use anyhow::{Context, Result, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use intake_aws::idempotency::CLAIM_LIFETIME;
use intake_domain::idempotency::{self as stored, Claim, Found, name};
use intake_postgres::{Database, claims};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

const SESSIONS: &str = "/api/v1/ingest/sessions";
const COMPREHENSIVE: &str = "/api/v1/ingest/comprehensive";

/// Longer than the claim of a function that died holds.
const PATIENCE: Duration = Duration::from_secs(50);

/// A short life for a claim, so that a test can wait for its end. It is counted in whole seconds, and is a part of one
/// shorter.
const SHORT: Duration = Duration::from_secs(2);

/// How many keys are fought over, and by how many each.
const KEYS: i32 = 20;
const CALLERS: usize = 50;

/// How many probes they are spread over, each with a connection of its own.
const PROBES: usize = 8;

/// How many keys are fought over at a time.
const KEYS_AT_ONCE: usize = 4;

/// A request to create a session with a file in parts and one without.
fn create(shop: &Shop, key: &str) -> RequestBuilder {
    let files = json!([
        {"name": "customers.ndjson", "size_bytes": 200},
        {"name": "orders.ndjson", "size_bytes": 3 * PART_BYTES},
    ]);
    shop.request(Method::POST, SESSIONS).header("idempotency-key", key).json(&json!({ "files": files }))
}

/// A request that sends customers as a form, which has another boundary each time.
fn form(shop: &Shop, key: &str, rows: &[u8]) -> RequestBuilder {
    form_to(shop, COMPREHENSIVE, key, rows)
}

fn form_to(shop: &Shop, path: &str, key: &str, rows: &[u8]) -> RequestBuilder {
    let boundary = Uuid::new_v4().simple().to_string();
    let head = "content-disposition: form-data; name=\"file\"; filename=\"customers.ndjson\"";
    let head = format!("--{boundary}\r\n{head}\r\n\r\n");
    let body = [head.as_bytes(), rows, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    let content_type = format!("multipart/form-data; boundary={boundary}");
    let request = shop.request(Method::POST, path).header("content-type", content_type);
    request.header("idempotency-key", key).body(body)
}

/// A request that sends orders as they are.
fn raw(shop: &Shop, key: &str) -> RequestBuilder {
    let request = shop.request(Method::POST, "/api/v1/ingest/orders").header("content-type", "application/x-ndjson");
    request.header("idempotency-key", key).body(ndjson([order(1, "2026-01-31"), order(2, "2026-02-01")]))
}

/// A request to the probe to set the shop's level.
fn set_level(shop: &Shop, key: &str, body: &Value) -> RequestBuilder {
    shop.request(Method::PUT, &level_path(shop)).header("idempotency-key", key).json(body)
}

fn level_path(shop: &Shop) -> String {
    format!("/api/v1/tenants/{}/level", shop.id)
}

/// What the shop's level was set to, one time after another.
async fn levels(shop: &Shop) -> Result<Vec<String>> {
    shop.books.texts("select level::text from probe.levels order by effect", &[]).await
}

async fn sessions(shop: &Shop) -> Result<Vec<String>> {
    shop.books.texts("select upload_token::text from upload_sessions order by session_id", &[]).await
}

/// Sees that an answer is another once more: all of it but what is said of the request itself.
fn same(again: &Answer, first: &Answer) -> Result<()> {
    const OF_THE_REQUEST: [&str; 5] = ["date", "idempotent-replayed", "ratelimit", "x-amzn-requestid", "x-request-id"];
    let headers = |answer: &Answer| -> BTreeSet<_> {
        let headers = answer.headers.iter().map(|(name, value)| (name.to_string(), value.clone()));
        headers.filter(|(name, _)| !OF_THE_REQUEST.contains(&name.as_str())).collect()
    };
    ensure!(again.status == first.status, "{} and {}", again.status, first.status);
    ensure!(headers(again) == headers(first), "{:?}", headers(again).symmetric_difference(&headers(first)));
    ensure!(again.text == first.text, "{} and {}", again.text, first.text);
    Ok(())
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

/// The session of a small file.
fn session_of(answer: &Answer) -> Result<Session> {
    let mut taken = answer.json(201)?;
    taken["files"] = json!([]);
    Session::read(&taken)
}

/// Sees that an answer is a problem of that status and code.
fn refused(answer: &Answer, status: u16, code: &str) -> Result<()> {
    ensure!(answer.json(status)?["code"] == code, "{code} expected: {answer:?}");
    Ok(())
}

/// The key of a shop's record in DynamoDB.
fn record(shop: &Shop, method: &str, path: &str, key: &str) -> AttributeValue {
    AttributeValue::S(format!("{} {}", shop.id, hex::encode(name(method, path, key))))
}

/// Takes the record away, as if whoever had the effect had died before it was written and its claim had run out.
async fn forget(ground: &Ground, record: AttributeValue) -> Result<()> {
    let table = ground.table("IdempotencyTable")?;
    let removed = ground.dynamodb.delete_item().table_name(table).key("id", record);
    let removed = removed.return_values("ALL_OLD".into()).send().await?;
    ensure!(removed.attributes.is_some_and(|record| record.contains_key("answer")), "a record with its answer");
    Ok(())
}

pub(super) async fn an_answer_is_given_again_byte_for_byte(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let customers = ndjson((0..20).map(customer));
    let customers = customers.as_slice();
    let requests: [(&str, &dyn Fn() -> RequestBuilder); 3] = [
        (SESSIONS, &|| create(&shop, "again")),
        (COMPREHENSIVE, &|| form(&shop, "again", customers)),
        ("/api/v1/ingest/orders", &|| raw(&shop, "again")),
    ];
    for (nth, (path, request)) in requests.iter().enumerate() {
        let first = Answer::to(request()).await?;
        assert_eq!((first.status, is_replayed(&first)), (201, false), "{first:?}");
        for is_forgotten in [false, false, true, false] {
            if is_forgotten {
                forget(&ground, record(&shop, "POST", path, "again")).await?;
            }
            let again = Answer::to(request()).await?;
            ensure!(is_replayed(&again), "{again:?}");
            same(&again, &first).context(*path)?;
        }
        assert_eq!(sessions(&shop).await?.len(), nth + 1, "{path}");
    }
    ground.drained().await
}

pub(super) async fn a_key_stands_for_one_request(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = ndjson((0..20_000).map(customer));
    ensure!(rows.len() > 2 << 20, "more than the parser of forms takes where it is not told");
    let first = Answer::to(form(&shop, "a form", &rows)).await?;
    assert_eq!(first.status, 201, "{first:?}");
    let again = Answer::to(form(&shop, "a form", &rows)).await?;
    same(&again, &first).context("with another boundary it is the same form")?;
    // its rows are not wanted, and a thousand chunks take long
    let token = first.json(201)?["upload_token"].as_str().context("a token")?.to_owned();
    shop.post(&format!("{SESSIONS}/{token}/cancel"), &json!({})).await?.json(200)?;
    let mut other = rows.clone();
    other[50] ^= 1;
    let token = Uuid::new_v4().to_string();
    let body = json!({"files": []});
    assert_eq!(Answer::to(create(&shop, "json")).await?.status, 201);
    for (what, request) in [
        ("content of the file", form(&shop, "a form", &other)),
        ("query", form_to(&shop, &format!("{COMPREHENSIVE}?dataset=customers"), "a form", &rows)),
        ("session", form(&shop, "a form", &rows).header("upload-token", token)),
        ("body", shop.request(Method::POST, SESSIONS).header("idempotency-key", "json").json(&body)),
    ] {
        refused(&Answer::to(request).await?, 422, "IDEMPOTENCY_KEY_REUSED").context(what)?;
    }
    forget(&ground, record(&shop, "POST", SESSIONS, "json")).await?;
    let request = shop.request(Method::POST, SESSIONS).header("idempotency-key", "json").json(&body);
    refused(&Answer::to(request).await?, 422, "IDEMPOTENCY_KEY_REUSED").context("PostgreSQL knows it, too")?;
    assert!(is_replayed(&Answer::to(create(&shop, "json")).await?), "and the first request is still answered");
    assert_eq!(sessions(&shop).await?.len(), 2);
    // what was refused had no effect, and may be mended
    let request = shop.request(Method::POST, SESSIONS).header("idempotency-key", "mended").json(&json!({"flies": 1}));
    assert_eq!(Answer::to(request).await?.status, 422);
    assert_eq!(Answer::to(create(&shop, "mended")).await?.status, 201);
    for key in ["", "é", &"x".repeat(256)] {
        let request = shop.request(Method::POST, SESSIONS).header("idempotency-key", key).json(&body);
        refused(&Answer::to(request).await?, 400, "INVALID_IDEMPOTENCY_KEY")?;
    }
    ground.drained().await
}

pub(super) async fn a_key_in_flight_is_not_waited_for(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    ground.arm("ingest-api.before-commit", shop.id, "sleep 2000")?;
    let again = async {
        while ground.armed("ingest-api.before-commit", shop.id).is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let since = Instant::now();
        let again = Answer::to(create(&shop, "slow")).await?;
        refused(&again, 409, "IDEMPOTENCY_KEY_IN_USE")?;
        assert_eq!(again.header("retry-after"), Some("1"));
        ensure!(since.elapsed() < Duration::from_secs(1), "it was waited for");
        Ok(())
    };
    let (first, again) = tokio::join!(Answer::to(create(&shop, "slow")), again);
    again?;
    let (first, again) = (first?, Answer::to(create(&shop, "slow")).await?);
    assert_eq!((is_replayed(&first), is_replayed(&again)), (false, true));
    same(&again, &first)?;
    assert_eq!(sessions(&shop).await?.len(), 1);
    Ok(())
}

/// Kills a function at a point, and asks again with the same key until there is an answer. Says whether it is a replay.
pub(super) async fn kill_at(point: &str, shop: &Shop, request: impl Fn() -> RequestBuilder) -> Result<(Answer, bool)> {
    shop.ground.arm(point, shop.id, "kill")?;
    refused(&Answer::to(request()).await?, 503, "UNAVAILABLE").context("it was killed")?;
    ensure!(shop.ground.armed(point, shop.id).is_none(), "nothing passed the point");
    let since = Instant::now();
    loop {
        let answer = Answer::to(request()).await?;
        if answer.status != 409 {
            let is_replayed = is_replayed(&answer);
            return Ok((answer, is_replayed));
        }
        refused(&answer, 409, "IDEMPOTENCY_KEY_IN_USE")?;
        ensure!(since.elapsed() < PATIENCE, "the claim does not run out");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// A session's creation dies at a point: one session comes of it.
async fn dies_creating(ground: &Arc<Ground>, point: &str, is_committed: bool) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let (answer, is_replayed) = kill_at(point, &shop, || create(&shop, "once")).await?;
    ensure!(is_replayed == is_committed, "{point}: {is_replayed}");
    let session = Session::read(&answer.json(201)?)?;
    assert_eq!(sessions(&shop).await?, [session.token.as_str()], "one effect, and the answer is of it");
    let (customers, orders) = (vec![b'\n'; 200], vec![b'\n'; 3 * PART_BYTES]);
    shop.put(&session.files[0], &customers).await?;
    shop.put(&session.files[1], &orders).await?;
    shop.finished(&session).await?;
    same(&Answer::to(create(&shop, "once")).await?, &answer)
}

/// A small file's request dies at a point: one file comes of it, and it arrives.
async fn dies_taking(ground: &Arc<Ground>, point: &str, is_committed: bool) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let rows = ndjson((0..20).map(customer));
    let (answer, is_replayed) = kill_at(point, &shop, || form(&shop, "once", &rows)).await?;
    ensure!(is_replayed == is_committed, "{point}: {is_replayed}");
    let session = session_of(&answer)?;
    assert_eq!(sessions(&shop).await?, [session.token.as_str()]);
    assert_eq!(counts(&shop.finished(&session).await?), [20, 20, 0, 0, 0]);
    same(&Answer::to(form(&shop, "once", &rows)).await?, &answer)?;
    assert_eq!(shop.books.texts("select count(*)::text from files", &[]).await?, ["1"]);
    Ok(())
}

/// A cancellation dies between its effect and its record: it is done again, and nothing else comes of it.
async fn dies_cancelling(ground: &Arc<Ground>) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let session = shop.create(&json!({"files": [{"name": "customers.ndjson", "size_bytes": 9}]})).await?;
    let path = format!("{SESSIONS}/{}/cancel", session.token);
    let cancel = || shop.request(Method::POST, &path).header("idempotency-key", "once").header("content-length", 0);
    let (answer, _) = kill_at("idempotency.answered", &shop, cancel).await?;
    assert_eq!(answer.json(200)?["state"], "cancelled");
    Ok(())
}

pub(super) async fn a_function_that_dies_at_any_step_has_one_effect(ground: Arc<Ground>) -> Result<()> {
    let fates = async {
        tokio::try_join!(
            dies_creating(&ground, "idempotency.claimed", false),
            dies_creating(&ground, "ingest-api.before-commit", false),
            dies_creating(&ground, "idempotency.answered", true),
            dies_taking(&ground, "idempotency.claimed", false),
            dies_taking(&ground, "ingest-api.before-put", true),
            dies_taking(&ground, "idempotency.answered", true),
            dies_cancelling(&ground),
        )
    };
    fates.await?;
    ground.drained().await
}

pub(super) async fn what_has_expired_is_new_although_it_is_still_there(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let first = Answer::to(create(&shop, "old")).await?;
    let expired = SystemTime::now() - Duration::from_secs(1);
    let seconds = expired.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let expire_in_dynamodb = async || -> Result<()> {
        let (table, id) = (ground.table("IdempotencyTable")?, record(&shop, "POST", SESSIONS, "old"));
        let update = ground.dynamodb.update_item().table_name(table).key("id", id);
        let update = update.update_expression("set expires_at = :at").condition_expression("attribute_exists(answer)");
        update.expression_attribute_values(":at", AttributeValue::N(seconds.to_string())).send().await?;
        Ok(())
    };
    expire_in_dynamodb().await?;
    let again = Answer::to(create(&shop, "old")).await?;
    ensure!(is_replayed(&again), "PostgreSQL still has it");
    same(&again, &first)?;
    expire_in_dynamodb().await?;
    // the owner sees the claims of all tenants
    let set_back = "update idempotency_claims set expires_at = $1 where tenant_id = $2 and name = $3";
    let old = name("POST", SESSIONS, "old");
    let expire_in_postgresql = async || shop.books.execute(set_back, &[&expired, &shop.id, &old.as_slice()]).await;
    assert_eq!(expire_in_postgresql().await?, 1);
    let anew = Answer::to(create(&shop, "old")).await?;
    assert_eq!((anew.status, is_replayed(&anew)), (201, false), "{anew:?}");
    assert_ne!(anew.text, first.text);
    same(&Answer::to(create(&shop, "old")).await?, &anew)?;
    assert_eq!(sessions(&shop).await?.len(), 2);

    // and what has expired is removed in the end
    assert_eq!(Answer::to(create(&shop, "young")).await?.status, 201);
    assert_eq!(expire_in_postgresql().await?, 1);
    ground.invoke("Maintain", &event("maintain.hourly")?).await?;
    let left = "select encode(name, 'hex') from idempotency_claims where tenant_id = $1";
    assert_eq!(shop.books.texts(left, &[&shop.id]).await?, [hex::encode(name("POST", SESSIONS, "young"))]);
    Ok(())
}

pub(super) async fn two_tenants_with_one_key_are_independent(ground: Arc<Ground>) -> Result<()> {
    let (one, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let (ones, others) = tokio::try_join!(Answer::to(create(&one, "key")), Answer::to(create(&other, "key")))?;
    assert_eq!((ones.status, others.status, is_replayed(&ones) || is_replayed(&others)), (201, 201, false));
    for (shop, first) in [(&one, &ones), (&other, &others)] {
        same(&Answer::to(create(shop, "key")).await?, first)?;
        let session = Session::read(&first.json(201)?)?;
        assert_eq!(sessions(shop).await?, [session.token.as_str()]);
    }
    Ok(())
}

pub(super) async fn the_last_of_three_keys_holds(ground: Arc<Ground>) -> Result<()> {
    let (shop, probe) = (Shop::open(&ground).await?, Probe::start(&ground).await?);
    for (key, level) in [("one", 5), ("two", 7), ("three", 5)] {
        let answer = probe.answer(set_level(&shop, key, &json!({ "level": level }))).await?;
        assert_eq!(answer.json(200)?["level"], level);
    }
    assert_eq!(levels(&shop).await?, ["5", "7", "5"]);
    for (key, level) in [("two", 7), ("one", 5)] {
        let again = probe.answer(set_level(&shop, key, &json!({ "level": level }))).await?;
        assert_eq!((again.json(200)?["level"].as_i64(), is_replayed(&again)), (Some(level), true));
    }
    assert_eq!(levels(&shop).await?, ["5", "7", "5"], "a late repetition sets nothing back");
    Ok(())
}

/// Fifty send the same request at once, and again whoever was told to wait.
async fn fight(shop: &Shop, probes: &[Probe], level: i32) -> Result<()> {
    let body = json!({ "level": level });
    let key = format!("key {level}");
    let send = async |caller: usize| {
        let probe = &probes[caller % probes.len()];
        loop {
            let answer = probe.answer(set_level(shop, &key, &body)).await?;
            if answer.status != 409 {
                return Ok::<_, anyhow::Error>(answer);
            }
            refused(&answer, 409, "IDEMPOTENCY_KEY_IN_USE")?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let answers = try_join_all((0..CALLERS).map(send)).await?;
    let first: Vec<_> = answers.iter().filter(|answer| !is_replayed(answer)).collect();
    ensure!(first.len() == 1, "{} had the effect of {key}", first.len());
    for answer in &answers {
        ensure!(answer.status == 200, "{answer:?}");
        same(answer, first[0])?;
    }
    Ok(())
}

pub(super) async fn of_fifty_at_once_one_has_its_effect(ground: Arc<Ground>) -> Result<()> {
    let keys = std::env::var("INTAKE_IDEMPOTENCY_KEYS").ok().map(|keys| keys.parse()).transpose()?.unwrap_or(KEYS);
    let shop = Shop::open(&ground).await?;
    let probes = try_join_all((0..PROBES).map(|_| Probe::start(&ground))).await?;
    let fights = stream::iter(0..keys).map(|level| fight(&shop, &probes, level));
    fights.buffer_unordered(KEYS_AT_ONCE).try_collect::<Vec<()>>().await?;
    let mut set: Vec<i32> = levels(&shop).await?.iter().filter_map(|level| level.parse().ok()).collect();
    set.sort_unstable();
    assert_eq!(set, (0..keys).collect::<Vec<_>>(), "one effect each");
    Ok(())
}

pub(super) async fn a_claim_that_ran_out_is_held_by_postgresql(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let probes = [(); 2].map(|()| Probe::over(&ground, &ground.aws, SHORT));
    let [slow, other] = <[_; 2]>::try_from(try_join_all(probes).await?).map_err(|_| anyhow::anyhow!("two"))?;
    // the second finds the claim run out, waits for the first's transaction, and gives its answer
    let body = json!({"level": 1, "pause_ms": 4000});
    let late = async {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        other.answer(set_level(&shop, "overtaken", &body)).await
    };
    let (first, second) = tokio::join!(slow.answer(set_level(&shop, "overtaken", &body)), late);
    let (first, second) = (first?, second?);
    assert_eq!((is_replayed(&first), is_replayed(&second)), (false, true));
    same(&second, &first)?;
    assert!(is_replayed(&slow.answer(set_level(&shop, "overtaken", &body)).await?));

    // whoever waits for an answer goes away, and the request with it
    let body = json!({"level": 2, "pause_ms": 300});
    let gone = tokio::time::timeout(Duration::from_millis(150), slow.answer(set_level(&shop, "gone", &body)));
    ensure!(gone.await.is_err(), "it was answered");
    refused(&other.answer(set_level(&shop, "gone", &body)).await?, 409, "IDEMPOTENCY_KEY_IN_USE")?;
    tokio::time::sleep(SHORT + Duration::from_millis(500)).await;
    let answer = other.answer(set_level(&shop, "gone", &body)).await?;
    assert_eq!((answer.status, is_replayed(&answer)), (200, false), "{answer:?}");

    // one that panics gives its key back at once
    let panics = json!({"level": 3, "panics": true});
    refused(&slow.answer(set_level(&shop, "panics", &panics)).await?, 500, "INTERNAL")?;
    assert_eq!(slow.answer(set_level(&shop, "panics", &json!({"level": 3}))).await?.status, 200);
    assert_eq!(levels(&shop).await?, ["1", "2", "3"]);
    Ok(())
}

pub(super) async fn a_claim_is_given_back_by_its_own_request_alone(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let lifetimes = [SHORT, CLAIM_LIFETIME, CLAIM_LIFETIME];
    let probes = try_join_all(lifetimes.map(|lifetime| Probe::over(&ground, &ground.aws, lifetime))).await?;
    // the first fails when its claim has run out and the second has the key, which the third must find in use
    let fails = json!({"level": 1, "pause_ms": 3000, "panics": true});
    let send = async |nth: usize, at_ms| {
        tokio::time::sleep(Duration::from_millis(at_ms)).await;
        probes[nth].answer(set_level(&shop, "taken over", &fails)).await
    };
    let (first, second, third) = tokio::try_join!(send(0, 0), send(1, 2500), send(2, 3500))?;
    refused(&first, 500, "INTERNAL")?;
    refused(&third, 409, "IDEMPOTENCY_KEY_IN_USE")?;
    refused(&second, 500, "INTERNAL")?;
    assert!(levels(&shop).await?.is_empty());
    Ok(())
}

pub(super) async fn a_transaction_that_waits_too_long_for_a_claim_gives_up(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let claim = Claim { name: [1; 32], fingerprint: [2; 32], at: 1_800_000_000, id: Uuid::now_v7() };
    let other = Claim { fingerprint: [3; 32], ..claim.clone() };
    let answer = stored::Answer { status: 201, headers: vec![("a".to_owned(), "b: c".to_owned())], body: vec![0, 255] };
    let [one, two] = [(); 2].map(|()| Database::new(&ground.endpoints.api_database_url, "tests"));
    let (one, two) = (one?, two?);
    let scope = one.begin(shop.id).await?;
    assert_eq!(claims::take(&scope, &claim).await?, Found::Nothing);
    let waiting = two.begin(shop.id).await?;
    waiting.query("limit", "set local lock_timeout = '100ms'", &[]).await?;
    assert_eq!(claims::take(&waiting, &claim).await?, Found::Running);
    drop(waiting);
    claims::keep(&scope, &claim, &answer).await?;
    scope.commit().await?;

    let scope = two.begin(shop.id).await?;
    assert_eq!(claims::take(&scope, &claim).await?, Found::Answer(answer));
    assert_eq!(claims::take(&scope, &other).await?, Found::OtherRequest);
    let late = Claim { at: claim.expires_at() - 1, ..other.clone() };
    assert_eq!(claims::take(&scope, &late).await?, Found::OtherRequest);
    let anew = Claim { at: claim.expires_at(), ..other };
    assert_eq!(claims::take(&scope, &anew).await?, Found::Nothing);
    claims::release(&scope, &anew).await?;
    assert_eq!(claims::take(&scope, &claim).await?, Found::Nothing);
    scope.rollback().await?;
    Ok(())
}

/// Sees that writes are refused soon, with a time to come again, and that reads are not.
async fn writes_are_refused(probe: &Probe, shop: &Shop, key: &str) -> Result<()> {
    let since = Instant::now();
    let answer = probe.answer(set_level(shop, key, &json!({"level": 1}))).await?;
    refused(&answer, 503, "UNAVAILABLE")?;
    assert_eq!(answer.header("retry-after"), Some("2"), "{answer:?}");
    ensure!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
    let read = probe.answer(shop.request(Method::GET, &level_path(shop))).await?;
    assert_eq!(read.json(200)?["effects"], 0);
    Ok(())
}

pub(super) async fn without_dynamodb_nothing_is_written(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(); // closed again
    let closed = ground.aws.clone().into_builder().endpoint_url(format!("http://127.0.0.1:{port}")).build();
    writes_are_refused(&Probe::over(&ground, &closed, SHORT).await?, &shop, "closed").await?;

    let line = Line::open(&ground).await?;
    let probe = Probe::over(&ground, &line.aws, SHORT).await?;
    line.hang(&["PutItem", "UpdateItem", "DeleteItem"]);
    writes_are_refused(&probe, &shop, "hangs").await?;

    // gone between the claim and the record: the effect is there and so is its answer, now and when it is back
    line.hang(&["UpdateItem"]);
    let body = json!({"level": 7});
    let first = probe.answer(set_level(&shop, "half", &body)).await?;
    assert_eq!((first.status, is_replayed(&first)), (200, false));
    line.hang(&[]);
    tokio::time::sleep(SHORT + Duration::from_millis(500)).await;
    let again = probe.answer(set_level(&shop, "half", &body)).await?;
    ensure!(is_replayed(&again), "{again:?}");
    same(&again, &first)?;
    assert_eq!(levels(&shop).await?, ["7"]);
    Ok(())
}

pub(super) async fn a_key_costs_two_writes(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let line = Line::open(&ground).await?;
    let probe = Probe::over(&ground, &line.aws, SHORT).await?;
    let (body, wrong) = (json!({"level": 1}), json!({"level": "x"}));
    let without = shop.request(Method::PUT, &level_path(&shop)).json(&body);
    for (request, status, calls) in [
        (without, 200, &[][..]),
        (set_level(&shop, "cost", &body), 200, &["PutItem", "UpdateItem"]),
        (set_level(&shop, "cost", &body), 200, &["PutItem"]),
        (set_level(&shop, "cost", &json!({"level": 2})), 422, &["PutItem"]),
        (set_level(&shop, "refused", &wrong), 422, &["PutItem", "DeleteItem"]),
        (shop.request(Method::GET, &level_path(&shop)), 200, &[]),
    ] {
        assert_eq!(probe.answer(request).await?.status, status);
        let made: Vec<_> = line.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(made, calls);
    }
    // the limit costs one more
    let note = shop.request(Method::PUT, &format!("/api/v1/tenants/{}/note", shop.id));
    assert_eq!(probe.answer(note.header("idempotency-key", "note")).await?.status, 200);
    let made: Vec<_> = line.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(made, ["UpdateItem", "PutItem", "UpdateItem"]);
    // a call whose answer is lost is made again, and knows itself
    line.lose(&["PutItem"]);
    let mend = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        line.lose(&[]);
    };
    let (answer, ()) = tokio::join!(probe.answer(set_level(&shop, "lost", &body)), mend);
    assert_eq!(answer?.status, 200);
    let made: Vec<_> = line.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(made, ["PutItem", "PutItem", "UpdateItem"]);
    Ok(())
}
