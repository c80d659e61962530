//! Keys: which open the door, how one replaces another, and what is written down of those that do not.

use crate::support::{Answer, Ground, KEY_CACHE_SECONDS, Probe, Scratch, Shop, event};
use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use intake_domain::api_key::{self, ApiKey};
use intake_domain::audit::KeyEvent;
use intake_lambda::edge::Edge;
use intake_postgres::admin::{self, NewTenant};
use intake_postgres::audit::{self, Entry};
use intake_postgres::keys::{self, Holder, NewKey};
use intake_postgres::{Database, Error};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::{Client, IsolationLevel};
use uuid::Uuid;

const SESSIONS: &str = "/api/v1/ingest/sessions";

/// How long a function may take a key for what it was.
const LIVE_LIFETIME: Duration = Duration::from_secs(KEY_CACHE_SECONDS);
const OTHER_LIFETIME: Duration = Duration::from_secs(5);

fn new_key() -> ApiKey {
    let mut random = [0; 32];
    random[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    random[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    ApiKey::generate(random)
}

/// The key with another last character.
fn mistyped(key: &ApiKey) -> String {
    let (body, last) = key.as_str().split_at(key.as_str().len() - 1);
    format!("{body}{}", if last == "0" { "1" } else { "0" })
}

async fn owner(ground: &Ground) -> Result<Client> {
    Ok(intake_postgres::connect(&ground.endpoints.owner_database_url).await?)
}

/// A tenant with a key of any form.
async fn tenant_with(owner: &mut Client, id: Uuid, key: &str, event: KeyEvent) -> Result<bool> {
    let key = NewKey { hash: api_key::hash(key), prefix: "sha:00000000".to_owned() };
    Ok(admin::add_tenant(owner, &NewTenant { id, name: "A shop".to_owned(), key }, event).await?)
}

/// A request to the API with a key.
async fn ask(ground: &Ground, key: &str) -> Result<Answer> {
    Answer::to(ground.http.get(format!("{}{SESSIONS}?limit=1", ground.endpoints.api_url)).header("x-api-key", key))
        .await
}

/// A request to a probe with a key, on the path of a tenant.
async fn ask_probe(ground: &Ground, probe: &Probe, key: &str, tenant: &str) -> Result<Answer> {
    let url = format!("{}/api/v1/tenants/{tenant}/level", ground.endpoints.api_url);
    probe.answer(ground.http.get(url).header("x-api-key", key)).await
}

/// What is written down of a tenant, or of all.
async fn entries(ground: &Ground, tenant: Option<Uuid>) -> Result<Vec<Entry>> {
    Ok(audit::list(&owner(ground).await?, tenant, Duration::from_secs(3_600)).await?)
}

fn actions(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.code.as_deref().unwrap_or(&entry.action)).collect()
}

/// Asks the function itself, as a gateway does that has heard from this address.
async fn call(ground: &Ground, headers: &Value, source_ip: &str, request_id: &str) -> Result<u64> {
    let mut event = event("ingest-api.create-session")?;
    event["httpMethod"] = "GET".into();
    event["requestContext"]["httpMethod"] = "GET".into();
    let path = format!("{SESSIONS}/0190a5d0-ac96-474b-8cce-b302099a8057/status");
    event["requestContext"]["path"] = format!("/live{path}").into();
    event["path"] = path.into();
    event["headers"] = headers.clone();
    event["multiValueHeaders"] =
        headers.as_object().context("headers")?.iter().map(|(name, value)| (name.clone(), json!([value]))).collect();
    event["requestContext"]["identity"]["sourceIp"] = source_ip.into();
    event["requestContext"]["requestId"] = request_id.into();
    event["body"] = Value::Null;
    ground.invoke("IngestApi", &event).await?["statusCode"].as_u64().context("a status")
}

pub(super) async fn a_revoked_key_is_refused_soon_and_a_flood_is_a_line(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let (old, new) = (shop.key.as_str(), new_key());
    let mut owner = owner(&ground).await?;
    let older = keys::rotate(&mut owner, shop.id, &NewKey::from(&new)).await?;
    assert_eq!(older.iter().map(|key| key.prefix.as_str()).collect::<Vec<_>>(), [shop.key.prefix()]);
    // every process that answers knows both by now
    let crowd = async |key: &str| try_join_all((0..20).map(|_| ask(&ground, key))).await;
    for key in [old, new.as_str()] {
        assert!(crowd(key).await?.iter().all(|answer| answer.status == 200));
    }
    // one more function, whose clock the test moves
    let later = Arc::new(AtomicU64::new(0));
    let seconds = Arc::clone(&later);
    let clock = move || SystemTime::now() + Duration::from_secs(seconds.load(Ordering::Relaxed));
    let probe = Probe::with_clock(&ground, clock).await?;
    ask_probe(&ground, &probe, old, &shop.id.to_string()).await?.json(200)?;

    // a flood meanwhile
    let wrong = new_key();
    for _ in 0..30 {
        assert_eq!(ask_probe(&ground, &probe, wrong.as_str(), "any").await?.status, 401);
    }
    let of_flood = async || {
        let entries = entries(&ground, None).await?.into_iter();
        let of_flood = entries.filter(|entry| entry.key_prefix.as_deref() == Some(wrong.prefix()));
        anyhow::Ok(of_flood.map(|entry| entry.occurrences).collect::<Vec<_>>())
    };
    assert_eq!(of_flood().await?, [1]);

    let revoked_at = Instant::now();
    keys::revoke(&mut owner, shop.id, shop.key.prefix(), false).await?;
    tokio::time::sleep(LIVE_LIFETIME.saturating_sub(revoked_at.elapsed())).await;
    for answer in crowd(old).await? {
        assert_eq!(answer.json(401)?["code"], "UNAUTHORIZED", "{:?} after it was revoked", revoked_at.elapsed());
    }
    ask_probe(&ground, &probe, old, &shop.id.to_string()).await?.json(200)?;
    later.store(60, Ordering::Relaxed);
    assert_eq!(ask_probe(&ground, &probe, old, &shop.id.to_string()).await?.status, 401);
    assert!(crowd(new.as_str()).await?.iter().all(|answer| answer.status == 200));

    // whoever came next wrote down how many there were
    assert_eq!(of_flood().await?, [1, 29]);
    let own = entries(&ground, Some(shop.id)).await?;
    assert_eq!(actions(&own)[..3], ["key_added", "key_rotated", "key_revoked"]);
    assert!(actions(&own)[3..].iter().all(|action| *action == "REVOKED_KEY") && own.len() > 4, "{own:?}");
    Ok(())
}

pub(super) async fn a_key_that_is_added_opens_the_door_within_seconds(ground: Arc<Ground>) -> Result<()> {
    let (id, key) = (Uuid::now_v7(), new_key());
    assert_eq!(ask(&ground, key.as_str()).await?.status, 401);
    let mut owner = owner(&ground).await?;
    let tenant = NewTenant { id, name: "A shop".to_owned(), key: NewKey::from(&key) };
    assert!(admin::add_tenant(&mut owner, &tenant, KeyEvent::Added).await?);
    let added_at = Instant::now();
    while ask(&ground, key.as_str()).await?.status != 200 {
        ensure!(added_at.elapsed() < OTHER_LIFETIME + Duration::from_secs(1), "after {:?}", added_at.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

pub(super) async fn a_hash_is_no_key_whoever_it_came_from(ground: Arc<Ground>) -> Result<()> {
    let mut owner = owner(&ground).await?;
    let id = Uuid::now_v7();
    for (key, event) in [
        (new_key().as_str(), KeyEvent::Added),
        (&format!("api_key_{id}"), KeyEvent::Imported),
        ("s3cret", KeyEvent::Imported),
    ] {
        tenant_with(&mut owner, Uuid::now_v7(), key, event).await?;
        let hash = api_key::hash(key);
        assert_eq!(ask(&ground, key).await?.status, 200, "{event:?}");
        for stored in [hex::encode(hash), hex::encode_upper(hash), format!("\\x{}", hex::encode(hash))] {
            assert_eq!(ask(&ground, &stored).await?.json(401)?["code"], "UNAUTHORIZED");
            let bearer = ground.http.get(format!("{}{SESSIONS}", ground.endpoints.api_url)).bearer_auth(stored);
            assert_eq!(Answer::to(bearer).await?.status, 401);
        }
    }
    Ok(())
}

pub(super) async fn what_is_known_of_a_key_is_not_asked_again(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let mut owner = scratch.owner().await?;
    let (id, live, unknown) = (Uuid::now_v7(), new_key(), new_key());
    let tenant = NewTenant { id, name: "A shop".to_owned(), key: NewKey::from(&live) };
    admin::add_tenant(&mut owner, &tenant, KeyEvent::Added).await?;
    let probe = probe_on(&ground, &scratch.api_url).await?;
    let ask = async |key: &str, tenant: Uuid| ask_probe(&ground, &probe, key, &tenant.to_string()).await;
    // another tenant's path needs nothing but the caller to be known
    let foreign = Uuid::now_v7();
    assert_eq!(ask(live.as_str(), foreign).await?.status, 404);
    assert_eq!(ask(unknown.as_str(), id).await?.status, 401);

    // from here on nobody can look
    let mut locker = scratch.owner().await?;
    let locked = locker.transaction().await?;
    locked.batch_execute("lock table api_keys in access exclusive mode").await?;
    let soon = Duration::from_secs(1);
    for _ in 0..3 {
        assert_eq!(tokio::time::timeout(soon, ask(live.as_str(), foreign)).await??.status, 404);
        assert_eq!(tokio::time::timeout(soon, ask(unknown.as_str(), id)).await??.status, 401);
    }
    let upper = format!("itk_{}", live.as_str()[4..].to_uppercase());
    for broken in ["itk_", "itk_wrong", &live.as_str()[..75], &mistyped(&live), &upper] {
        let answer = tokio::time::timeout(soon, ask(broken, id)).await??;
        assert_eq!(answer.json(401)?["detail"], "the API key is mistyped or cut off", "{broken}");
    }
    assert!(tokio::time::timeout(soon, ask(new_key().as_str(), id)).await.is_err(), "any other is looked for");
    locked.rollback().await?;
    assert_eq!(ask(new_key().as_str(), id).await?.status, 401);
    Ok(())
}

/// A probe that knows the keys of another database.
async fn probe_on(ground: &Ground, url: &str) -> Result<Probe> {
    let database = Arc::new(Database::new(url, "probe")?);
    let (records, rates) = (ground.table("IdempotencyTable")?.to_owned(), ground.table("RateTable")?.to_owned());
    Probe::behind(ground, |_, aws| {
        let limiter = intake_lambda::edge::Limiter::new(intake_aws::RateTable::new(aws, rates), Default::default());
        Edge::new(database, intake_aws::idempotency::Records::new(aws, records, Duration::from_secs(3_600)), limiter)
    })
    .await
}

pub(super) async fn two_keys_live_at_most_however_many_come_at_once(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rotate = async || {
        let key = new_key();
        let rotated = keys::rotate(&mut owner(&ground).await?, shop.id, &NewKey::from(&key)).await;
        anyhow::Ok((key, rotated))
    };
    let live = async || {
        let keys = keys::list(&owner(&ground).await?, Some(shop.id)).await?;
        anyhow::Ok(keys.into_iter().filter(keys::KeyRow::is_live).map(|key| key.prefix).collect::<Vec<_>>())
    };
    let mut winners = Vec::new();
    for (key, rotated) in try_join_all((0..12).map(|_| rotate())).await? {
        match rotated {
            Ok(older) => {
                assert_eq!(older.len(), 1);
                winners.push(key);
            }
            Err(Error::TwoLiveKeys { tenant, prefixes }) => assert_eq!((tenant, prefixes.len()), (shop.id, 2)),
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(live().await?, [shop.key.prefix(), winners[0].prefix()]);
    let refused = rotate().await?.1.expect_err("a third").to_string();
    assert!(refused.contains(shop.key.prefix()) && refused.contains(winners[0].prefix()), "{refused}");

    // nor does it help to go by oneself, in transactions that see nothing of one another
    keys::revoke(&mut owner(&ground).await?, shop.id, winners[0].prefix(), false).await?;
    let insert = async |level: IsolationLevel| {
        let mut client = owner(&ground).await?;
        let transaction = client.build_transaction().isolation_level(level).start().await?;
        transaction.query("select from api_keys where tenant_id = $1", &[&shop.id]).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sql = "insert into api_keys (key_hash, tenant_id, key_prefix) values ($1, $2, 'itk_byhand')";
        transaction.execute(sql, &[&new_key().hash().as_slice(), &shop.id]).await?;
        transaction.commit().await?;
        anyhow::Ok(())
    };
    let levels = [IsolationLevel::ReadCommitted, IsolationLevel::RepeatableRead, IsolationLevel::Serializable];
    let done = join_all(levels.iter().cycle().take(9).map(|level| insert(*level))).await;
    assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 1, "{done:?}");
    assert_eq!(live().await?, [shop.key.prefix(), "itk_byhand"]);

    // nor to make a revoked one live again
    let sql = "update api_keys set revoked_at = null where tenant_id = $1";
    assert!(owner(&ground).await?.execute(sql, &[&shop.id]).await.is_err());
    assert_eq!(live().await?.len(), 2);
    // the same key again is no third
    let tenant = NewTenant { id: shop.id, name: "A shop".to_owned(), key: NewKey::from(&shop.key) };
    assert!(!admin::add_tenant(&mut owner(&ground).await?, &tenant, KeyEvent::Added).await?);
    let third = NewTenant { key: NewKey::from(&new_key()), ..tenant };
    let third = admin::add_tenant(&mut owner(&ground).await?, &third, KeyEvent::Added).await;
    assert!(matches!(third, Err(Error::TwoLiveKeys { .. })), "{third:?}");
    Ok(())
}

pub(super) async fn the_last_key_is_not_revoked_by_mistake(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let new = new_key();
    let mut owner_client = owner(&ground).await?;
    keys::rotate(&mut owner_client, shop.id, &NewKey::from(&new)).await?;
    let revoke = async |prefix: &str, force| {
        keys::revoke(&mut owner(&ground).await.expect("a connection"), shop.id, prefix, force).await
    };
    for (prefix, found) in [("itk_", 2), ("nothing", 0)] {
        match revoke(prefix, true).await {
            Err(Error::NoSuchKey { found: said, prefixes, .. }) => assert_eq!((said, prefixes.len()), (found, 2)),
            other => anyhow::bail!("{prefix}: {other:?}"),
        }
    }
    // each of two that go at once would leave the other
    let (one, two) = tokio::join!(revoke(shop.key.prefix(), false), revoke(new.prefix(), false));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let refused = one.and(two).expect_err("one of them");
    assert!(matches!(refused, Error::LastKey(_)), "{refused:?}");
    let last =
        keys::list(&owner_client, Some(shop.id)).await?.into_iter().find(keys::KeyRow::is_live).context("a key")?;
    let (key, left) = revoke(&last.prefix, true).await?;
    assert_eq!((key.prefix, left.len()), (last.prefix, 0));

    let nobody = keys::rotate(&mut owner_client, Uuid::nil(), &NewKey::from(&new_key())).await;
    assert!(matches!(nobody, Err(Error::NoTenant(_))));
    let stolen = NewTenant { id: Uuid::now_v7(), name: "A thief".to_owned(), key: NewKey::from(&new) };
    assert!(matches!(admin::add_tenant(&mut owner_client, &stolen, KeyEvent::Added).await, Err(Error::KeyTaken(_))));
    assert_eq!(
        actions(&entries(&ground, Some(shop.id)).await?),
        ["key_added", "key_rotated", "key_revoked", "key_revoked"]
    );
    Ok(())
}

pub(super) async fn the_last_use_is_noted_once_a_minute(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let database = Database::new(&ground.endpoints.api_database_url, "tests")?;
    let used = async || {
        let sql = "select last_used_at::text from api_keys where last_used_at is not null and tenant_id = $1";
        shop.books.texts(sql, &[&shop.id]).await
    };
    assert!(used().await?.is_empty());
    let hash = shop.key.hash();
    assert_eq!(keys::holder(&database, &hash).await?, Holder::Tenant(shop.id));
    let first = used().await?;
    assert_eq!(first.len(), 1);
    for _ in 0..3 {
        assert_eq!(keys::holder(&database, &hash).await?, Holder::Tenant(shop.id));
    }
    assert_eq!(used().await?, first);
    let earlier = "update api_keys set last_used_at = last_used_at - interval '1 minute' where tenant_id = $1";
    shop.books.execute(earlier, &[&shop.id]).await?;
    keys::holder(&database, &hash).await?;
    assert!(used().await? > first);

    // a hash that differs in its last byte is found by the first ones, and is another
    let mut other = hash;
    other[31] ^= 1;
    assert_eq!(keys::holder(&database, &other).await?, Holder::Nobody);
    let mut owner = owner(&ground).await?;
    keys::revoke(&mut owner, shop.id, shop.key.prefix(), true).await?;
    let before = used().await?;
    assert_eq!(keys::holder(&database, &hash).await?, Holder::Former(shop.id));
    assert_eq!(used().await?, before);
    Ok(())
}

pub(super) async fn a_path_of_another_tenant_is_unknown(ground: Arc<Ground>) -> Result<()> {
    let (shop, other, probe) = (Shop::open(&ground).await?, Shop::open(&ground).await?, Probe::start(&ground).await?);
    let key = shop.key.as_str();
    ask_probe(&ground, &probe, key, &shop.id.to_string()).await?.json(200)?;
    let told = |answer: &Answer| -> Result<(Value, Option<String>)> {
        let mut problem = answer.json(404)?;
        for own in ["instance", "request_id"] {
            problem.as_object_mut().and_then(|problem| problem.remove(own)).context(own)?;
        }
        Ok((problem, answer.header("content-type").map(str::to_owned)))
    };
    let unknown = probe.answer(ground.http.get(format!("{}/api/v1/nowhere", ground.endpoints.api_url))).await?;
    let unknown = told(&unknown)?;
    assert_eq!(unknown.0["code"], "NOT_FOUND");
    let encoded = shop.id.to_string().replacen('0', "%30", 1);
    for tenant in [&other.id.to_string(), &Uuid::now_v7().to_string(), "not-a-uuid", &encoded, "%00"] {
        assert_eq!(told(&ask_probe(&ground, &probe, key, tenant).await?)?, unknown, "{tenant}");
        // who has no key is not told that much
        assert_eq!(ask_probe(&ground, &probe, "nobody-has-this", tenant).await?.status, 401);
    }
    let entries = entries(&ground, Some(shop.id)).await?;
    let refused = entries.last().context("an entry")?;
    assert_eq!((refused.code.as_deref(), refused.occurrences), (Some("FOREIGN_TENANT"), 1));
    assert_eq!(refused.path.as_deref(), Some(format!("/api/v1/tenants/{}/level", other.id).as_str()));
    assert_eq!(refused.key_prefix.as_deref(), Some(shop.key.prefix()));
    Ok(())
}

pub(super) async fn whoever_is_refused_is_written_down(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let mut owner = owner(&ground).await?;
    let (revoked, unknown) = (new_key(), new_key());
    keys::rotate(&mut owner, shop.id, &NewKey::from(&revoked)).await?;
    keys::revoke(&mut owner, shop.id, revoked.prefix(), false).await?;
    for (at, (headers, code, tenant, prefix)) in [
        (json!({}), "NO_KEY", None, None),
        (json!({"X-API-Key": mistyped(&unknown)}), "MALFORMED_KEY", None, None),
        (json!({"X-API-Key": "one", "Authorization": "Bearer two"}), "TWO_KEYS", None, None),
        (json!({"X-API-Key": unknown.as_str()}), "UNKNOWN_KEY", None, Some(unknown.prefix())),
        (json!({"X-API-Key": "nobody-has-this"}), "UNKNOWN_KEY", None, None),
        (
            json!({"Authorization": format!("Bearer {}", revoked.as_str())}),
            "REVOKED_KEY",
            Some(shop.id),
            Some(revoked.prefix()),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        // one address each, so that none is counted with another
        let (source, request_id) = (format!("203.0.113.{at}"), Uuid::now_v7().to_string());
        assert_eq!(call(&ground, &headers, &source, &request_id).await?, 401, "{code}");
        let entries = entries(&ground, tenant).await?;
        let entry = entries.iter().find(|entry| entry.request_id.as_ref() == Some(&request_id)).context(code)?;
        assert_eq!((entry.action.as_str(), entry.code.as_deref()), ("access_refused", Some(code)));
        assert_eq!((entry.tenant_id, entry.key_prefix.as_deref(), entry.occurrences), (tenant, prefix, 1), "{code}");
        assert_eq!(entry.source_ip, Some(source.parse()?));
        let path = format!("{SESSIONS}/:token/status");
        assert_eq!((entry.method.as_deref(), entry.path.as_deref()), (Some("GET"), Some(path.as_str())));
    }
    // nobody but the operator sees who was refused
    let sql = "select code::text from audit_log where action = 'access_refused'";
    assert_eq!(shop.books.texts(&format!("{sql} and tenant_id = $1"), &[&shop.id]).await?, ["REVOKED_KEY"]);
    let api = intake_postgres::connect(&ground.endpoints.api_database_url).await?;
    assert!(api.query(sql, &[]).await.is_err());
    Ok(())
}

pub(super) async fn an_entry_that_cannot_be_written_changes_no_answer(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let owner = scratch.owner().await?;
    let probe = probe_on(&ground, &scratch.api_url).await?;
    let ask = async |key: &str| ask_probe(&ground, &probe, key, "any").await;
    let codes = async || {
        let rows = owner.query("select code::text from audit_log order by audit_id", &[]).await?;
        anyhow::Ok(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>())
    };
    owner.batch_execute("revoke execute on function log_unknown_caller from intake_api").await?;
    assert_eq!(ask(new_key().as_str()).await?.status, 401);
    owner.batch_execute("grant execute on function log_unknown_caller to intake_api").await?;
    assert!(codes().await?.is_empty());

    let mut locker = scratch.owner().await?;
    let locked = locker.transaction().await?;
    locked.batch_execute("lock table audit_log in access exclusive mode").await?;
    let asked_at = Instant::now();
    assert_eq!(ask("itk_wrong").await?.status, 401);
    assert!(asked_at.elapsed() < Duration::from_secs(4), "{:?}", asked_at.elapsed());
    locked.rollback().await?;
    assert_eq!(ask("").await?.status, 401);
    // what was given up on is perhaps written after all
    assert_eq!(codes().await?.last().map(String::as_str), Some("NO_KEY"));
    Ok(())
}
