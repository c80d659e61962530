//! Stock: what a bulk update says of each line, and where levels stand after it.

use crate::support::{Answer, Ground, Shop, id, lines, ndjson, product};
use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use intake_domain::idempotency::name;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Longer than the claim of a function that died holds.
const PATIENCE: Duration = Duration::from_secs(50);

/// The path of a shop's stock, with what follows.
pub(super) fn path(shop: &Shop, rest: &str) -> String {
    format!("/api/v1/tenants/{}/stock{rest}", shop.id)
}

/// A request with these rows.
pub(super) fn update(shop: &Shop, query: &str, body: impl Into<Vec<u8>>) -> RequestBuilder {
    let request = shop.request(Method::POST, &path(shop, &format!("/bulk_update{query}")));
    request.header("content-type", "application/x-ndjson").body(body.into())
}

/// What is answered to rows that are sent together.
async fn updated(shop: &Shop, query: &str, rows: impl IntoIterator<Item = Value>) -> Result<Value> {
    Answer::to(update(shop, query, ndjson(rows))).await?.json(200)
}

fn delta(product: u64, delta: i64) -> Value {
    json!({"product_id": id(product), "delta": delta})
}

async fn level(shop: &Shop, product: u64) -> Result<Value> {
    shop.get(&path(shop, &format!("/{}", id(product)))).await?.json(200)
}

/// Sees that an answer is a problem of that status and code, and gives it.
fn refused(answer: &Answer, status: u16, code: &str) -> Result<Value> {
    let problem = answer.json(status)?;
    ensure!(problem["code"] == code, "{code} expected: {answer:?}");
    Ok(problem)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

pub(super) async fn a_bulk_update_says_what_became_of_each_line(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let [p, q, r] = [1, 2, 3].map(id);
    let first = updated(
        &shop,
        "",
        [
            delta(1, 5),
            json!({"product_id": q, "delta": 4}),
            json!({"product_id": r, "set": 8, "event_time": "2026-02-01T00:00:00Z"}),
        ],
    )
    .await?;
    assert_eq!(
        first,
        json!({
            "status": "success",
            "applied": [
                {"product_id": p, "events_processed": 1, "final_level": 5},
                {"product_id": q, "events_processed": 1, "final_level": 4},
                {"product_id": r, "events_processed": 1, "final_level": 8},
            ],
            "conflicts": [],
            "total_events_processed": 3,
            "duplicates": [],
            "stale_ignored": [],
            "errors": [],
            "counts": {
                "lines": 3, "processed": 3, "clamped": 0, "unchanged": 0, "stale_ignored": 0, "duplicates": 0,
                "conflicting": 0, "errors": 0,
            },
            "omitted": {"conflicts": 0, "duplicates": 0, "stale_ignored": 0, "errors": 0},
        })
    );
    let (seen, stale) = (id(90), id(91));
    let body = lines([
        json!({"product_id": p, "delta": -9, "source": "order", "meta": {"order": 1}}).to_string(),
        delta(1, 0).to_string(),
        String::new(),
        json!({"product_id": p, "delta": 2, "stock_event_id": seen}).to_string(),
        json!({"product_id": p, "delta": 2, "stock_event_id": seen}).to_string(),
        delta(2, 1).to_string(),
        json!({"product_id": q, "delta": -1, "expected": 7}).to_string(),
        json!({"product_id": r, "set": 5, "event_time": "2026-01-01", "stock_event_id": stale}).to_string(),
        r#"{"product_id":"42","set":-1}"#.to_owned(),
        r#"{"delta":,}"#.to_owned(),
    ]);
    let second = Answer::to(update(&shop, "", body)).await?.json(200)?;
    assert_eq!(
        second,
        json!({
            "status": "partial_success",
            "applied": [
                {"product_id": p, "events_processed": 2, "final_level": 2, "clamped": true},
                {"product_id": r, "events_processed": 0, "final_level": 8},
            ],
            "conflicts": [{
                "product_id": q, "reason": "the level is 5, expected was 7", "code": "EXPECTED_LEVEL",
                "pointer": "/expected", "line": 7, "current_level": 4, "events": 2,
            }],
            "total_events_processed": 2,
            "duplicates": [{"line": 5, "product_id": p, "stock_event_id": seen}],
            "stale_ignored": [{"line": 8, "product_id": r, "stock_event_id": stale}],
            "errors": [
                {"line": 9, "code": "INVALID_UUID", "pointer": "/product_id", "detail": "not a UUID"},
                {"line": 9, "code": "OUT_OF_RANGE", "pointer": "/set", "detail": "must be from 0 to 2147483647"},
                {"line": 10, "code": "INVALID_JSON", "pointer": "", "detail": "expected value at column 10"},
            ],
            "counts": {
                "lines": 9, "processed": 2, "clamped": 1, "unchanged": 1, "stale_ignored": 1, "duplicates": 1,
                "conflicting": 2, "errors": 2,
            },
            "omitted": {"conflicts": 0, "duplicates": 0, "stale_ignored": 0, "errors": 0},
        })
    );
    assert_eq!(shop.books.levels().await?, [(p, 2), (q, 4), (r, 8)].into());
    shop.books.levels_add_up().await
}

pub(super) async fn a_level_never_falls_below_zero(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let clamped = updated(&shop, "", [delta(1, 3), delta(1, -5), delta(1, 4), delta(2, -1)]).await?;
    assert_eq!(
        clamped["applied"],
        json!([
            {"product_id": id(1), "events_processed": 3, "final_level": 4, "clamped": true},
            {"product_id": id(2), "events_processed": 1, "final_level": 0, "clamped": true},
        ])
    );
    assert_eq!((&clamped["status"], &clamped["counts"]["clamped"]), (&json!("success"), &json!(2)));
    let rows = [delta(1, 2), delta(1, -7), delta(1, 100), delta(2, 1)];
    let rejected = updated(&shop, "?on_negative=reject", rows.clone()).await?;
    assert_eq!(
        rejected["conflicts"],
        json!([{
            "product_id": id(1), "reason": "the level would be -1, and must not be below 0", "code": "NEGATIVE_LEVEL",
            "pointer": "/delta", "line": 2, "current_level": 4, "events": 3,
        }])
    );
    assert_eq!(rejected["applied"], json!([{"product_id": id(2), "events_processed": 1, "final_level": 1}]));
    assert_eq!(updated(&shop, "?on_negative=clamp", rows).await?["applied"][0]["final_level"], 100);
    let high = updated(&shop, "", [delta(1, i64::from(i32::MAX))]).await?;
    assert_eq!(
        (&high["conflicts"][0]["code"], level(&shop, 1).await?["level"].as_i64()),
        (&"LEVEL_TOO_HIGH".into(), Some(100))
    );
    shop.books.levels_add_up().await
}

pub(super) async fn a_set_holds_by_its_time_and_an_expected_level_is_compared(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let set = |to: i64, at: &str| json!({"product_id": id(1), "set": to, "event_time": at});
    let became = async |rows: Vec<Value>| -> Result<(i64, i64)> {
        let answer = updated(&shop, "", rows).await?;
        let number = |value: &Value| value.as_i64().context("a number");
        Ok((number(&answer["counts"]["processed"])?, number(&level(&shop, 1).await?["level"])?))
    };
    assert_eq!(became(vec![set(10, "2026-01-02T00:00:00Z")]).await?, (1, 10));
    assert_eq!(became(vec![set(99, "2026-01-01T23:59:59.999999Z"), delta(1, -1)]).await?, (1, 9), "it is older");
    assert_eq!(became(vec![set(20, "2026-01-02T00:00:00Z")]).await?, (1, 20), "of two of one time the later line");
    // in the order of the lines within a request, too
    assert_eq!(became(vec![set(30, "2026-01-04"), set(40, "2026-01-03"), delta(1, 1)]).await?, (2, 31));
    assert_eq!(level(&shop, 1).await?["set_at"], "2026-01-04T00:00:00.000Z");
    // one without a time is as old as its request
    assert_eq!(became(vec![json!({"product_id": id(1), "set": 50})]).await?, (1, 50));
    assert_eq!(became(vec![set(60, "2026-01-05")]).await?, (0, 50));
    // with an expectation the level decides, whatever the time
    let guarded =
        |expected: i64| json!({"product_id": id(1), "set": 7, "expected": expected, "event_time": "2020-01-01"});
    assert_eq!(became(vec![guarded(49)]).await?, (0, 50));
    assert_eq!(became(vec![guarded(50)]).await?, (1, 7));
    let question = json!({"product_id": id(1), "delta": 0, "expected": 8});
    let answer = updated(&shop, "", [question]).await?;
    assert_eq!((&answer["conflicts"][0]["current_level"], &answer["total_events_processed"]), (&7.into(), &0.into()));
    // what was refused is not recorded: the same event may come again
    let once = json!({"product_id": id(1), "delta": -1, "expected": 8, "stock_event_id": id(70)});
    assert_eq!(updated(&shop, "", [once.clone()]).await?["conflicts"][0]["code"], "EXPECTED_LEVEL");
    assert_eq!(updated(&shop, "", [delta(1, 1), once.clone()]).await?["applied"][0]["final_level"], 7);
    assert_eq!(updated(&shop, "", [once]).await?["counts"]["duplicates"], 1);
    shop.books.levels_add_up().await
}

pub(super) async fn an_event_counts_once(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let event =
        |product: u64, number: u64| json!({"product_id": id(product), "delta": 1, "stock_event_id": id(number)});
    assert_eq!(updated(&shop, "", (0..50).map(|at| event(at % 5, at))).await?["total_events_processed"], 50);
    let again = updated(&shop, "", (0..60).map(|at| event(at % 5, at))).await?;
    assert_eq!((&again["status"], &again["total_events_processed"]), (&"success".into(), &10.into()));
    assert_eq!(again["counts"]["duplicates"], 50);
    // whatever else the row says, and whatever product it names; in a product's very first row
    let elsewhere = [event(6, 3), json!({"product_id": id(1), "set": 0, "stock_event_id": id(4)})];
    let elsewhere = updated(&shop, "", elsewhere).await?;
    assert_eq!(elsewhere["counts"]["duplicates"], 2);
    assert_eq!(elsewhere["applied"][0], json!({"product_id": id(6), "events_processed": 0, "final_level": 0}));
    // one that adds nothing is seen from then on
    let nothing = json!({"product_id": id(7), "delta": 0, "stock_event_id": id(80)});
    let first = updated(&shop, "", [nothing.clone()]).await?;
    assert_eq!((&first["counts"]["unchanged"], &first["total_events_processed"]), (&1.into(), &0.into()));
    assert_eq!(updated(&shop, "", [nothing]).await?["counts"]["duplicates"], 1);
    let levels = shop.books.levels().await?;
    assert_eq!(levels, (0..5).map(|at| (id(at), 12)).chain([(id(7), 0)]).collect());
    shop.books.levels_add_up().await
}

pub(super) async fn an_update_comes_in_any_wrapping(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = ndjson((0..30).map(|at| delta(at % 3, 1)));
    let form = |bytes: &[u8]| {
        let head = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"events.ndjson\"\r\n\r\n";
        [head.as_bytes(), bytes, b"\r\n--x--\r\n"].concat()
    };
    let (ndjson, multipart) = ("application/x-ndjson", "multipart/form-data; boundary=x");
    let [packed, zipped] = [gzip(&rows)?, zstd::encode_all(&rows[..], 3)?];
    let with_mark = [b"\xef\xbb\xbf", &rows[..]].concat();
    let mut sent = 0;
    for (method, end, content_type, encoding, body) in [
        (Method::POST, "", ndjson, "", rows.clone()),
        (Method::PUT, "", ndjson, "", rows.clone()),
        (Method::POST, "/", "", "", rows.clone()),
        (Method::PUT, "/?on_negative=clamp", "application/octet-stream", "", with_mark),
        (Method::POST, "", "application/json", "", String::from_utf8(rows.clone())?.replace('\n', "\r\n").into()),
        (Method::POST, "", ndjson, "gzip", packed.clone()),
        (Method::POST, "", ndjson, "zstd", zipped),
        (Method::POST, "", multipart, "", form(&rows)),
        (Method::PUT, "/", multipart, "", form(&packed)),
    ] {
        let request = shop.request(method, &path(&shop, &format!("/bulk_update{end}")));
        let request = if content_type.is_empty() { request } else { request.header("content-type", content_type) };
        let request = if encoding.is_empty() { request } else { request.header("content-encoding", encoding) };
        let answer = Answer::to(request.body(body)).await?;
        sent += 1;
        let answer = answer.json(200).with_context(|| format!("{content_type} {encoding}"))?;
        assert_eq!(answer["counts"]["processed"], 30, "{content_type} {encoding}: {answer}");
        assert_eq!(answer["applied"][2]["final_level"], 10 * sent);
    }
    shop.books.levels_add_up().await
}

pub(super) async fn levels_and_events_are_told_in_pages(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let session = [crate::support::File::new("products.ndjson", ndjson([product(500)]))];
    shop.send(&session).await?;
    let rows = (0..45).map(|at| delta(at, at as i64 % 9));
    assert_eq!(updated(&shop, "", rows).await?["counts"]["lines"], 45);
    let moves = (0..7).map(|at| {
        json!({
            "product_id": id(1), "delta": if at == 3 { 0 } else { 2 }, "source": "receipt", "meta": {"at": at},
            "event_time": format!("2026-01-0{}T00:00:00Z", at + 1),
        })
    });
    assert_eq!(updated(&shop, "", moves).await?["applied"][0]["final_level"], 13);

    let known = level(&shop, 1).await?;
    assert_eq!((&known["level"], &known["sequence"], &known["set_at"]), (&13.into(), &8.into(), &Value::Null));
    let never = json!({"product_id": id(500), "level": 0, "set_at": null, "sequence": 0, "updated_at": null});
    assert_eq!(level(&shop, 500).await?, never, "a product that never moved");

    let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = shop.get(&path(&shop, &format!("/?below=3&limit=4{cursor}"))).await?.json(200)?;
        let levels = page["levels"].as_array().context("levels")?;
        found.extend(
            levels.iter().map(|level| (level["level"].as_i64(), level["product_id"].as_str().map(str::to_owned))),
        );
        pages += 1;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let mut due: Vec<_> =
        (0..45).filter(|at| at % 9 < 3 && *at != 1).map(|at| (Some(at % 9), Some(id(at as u64).to_string()))).collect();
    due.sort();
    assert_eq!((found, pages), (due, 4));
    let all = shop.get(&path(&shop, "?limit=1000")).await?.json(200)?;
    assert_eq!((all["levels"].as_array().map(Vec::len), &all["next_cursor"]), (Some(45), &Value::Null));
    let none = stranger.get(&path(&stranger, "")).await?.json(200)?;
    assert_eq!(none, json!({"levels": [], "next_cursor": null}));

    let events = format!("/api/v1/tenants/{}/products/{}/stock-events", shop.id, id(1));
    let first = shop.get(&format!("{events}/?limit=5")).await?.json(200)?;
    assert_eq!((&first["level"], &first["next_cursor"]), (&13.into(), &"4".into()));
    let one = &first["events"][0];
    for (field, due) in [
        ("sequence", json!(8)),
        ("delta", json!(2)),
        ("set", Value::Null),
        ("expected", Value::Null),
        ("outcome", json!("applied")),
        ("change", json!(2)),
        ("resulting_level", json!(13)),
        ("event_time", json!("2026-01-07T00:00:00.000Z")),
        ("source", json!("receipt")),
        ("meta", json!({"at": 6})),
    ] {
        assert_eq!(one[field], due, "{field}");
    }
    assert_eq!(first["events"][3]["outcome"], "unchanged");
    let rest = shop.get(&format!("{events}?cursor=4")).await?.json(200)?;
    let numbers: Vec<_> =
        rest["events"].as_array().context("events")?.iter().map(|event| event["sequence"].as_i64()).collect();
    assert_eq!((numbers, &rest["next_cursor"]), (vec![Some(3), Some(2), Some(1)], &Value::Null));

    // what is not the shop's own is not there
    let own = format!("/api/v1/tenants/{}/products/{}/stock-events", stranger.id, id(1));
    for (who, wrong) in [
        (&stranger, path(&stranger, &format!("/{}", id(1)))),
        (&stranger, own),
        (&stranger, path(&shop, "")),
        (&stranger, path(&shop, &format!("/{}", id(1)))),
        (&stranger, events.clone()),
        (&shop, path(&shop, "/42")),
        (&shop, path(&shop, &format!("/{}", id(501)))),
    ] {
        refused(&who.get(&wrong).await?, 404, "NOT_FOUND").context(wrong)?;
    }
    for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?below=-1", "?under=3", "?cursor="] {
        refused(&shop.get(&path(&shop, wrong)).await?, 400, "INVALID_QUERY").context(wrong)?;
    }
    for wrong in ["?limit=0", "?limit=1001", "?cursor=0", "?cursor=-1", "?below=1"] {
        refused(&shop.get(&format!("{events}{wrong}")).await?, 400, "INVALID_QUERY").context(wrong)?;
    }
    Ok(())
}

pub(super) async fn what_is_no_update_is_refused_by_name(ground: Arc<Ground>) -> Result<()> {
    let (shop, stranger) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let good = ndjson([delta(1, 1)]);
    let to = |rest: &str| shop.request(Method::POST, &path(&shop, &format!("/bulk_update{rest}")));
    let typed = |content_type: &str| to("").header("content-type", content_type.to_owned());
    let many = lines((0..25_001).map(|_| delta(1, 1)));
    let bomb = gzip(&vec![b'\n'; 40 << 20])?;
    for (what, status, code, request) in [
        ("nothing", 400, "EMPTY_BODY", update(&shop, "", "")),
        ("blank lines", 400, "EMPTY_BODY", update(&shop, "", " \r\n\n\t\n")),
        ("an empty form", 422, "INVALID_REQUEST", typed("multipart/form-data; boundary=x").body("--x--\r\n")),
        ("a broken form", 400, "INVALID_MULTIPART", typed("multipart/form-data; boundary=x").body(good.clone())),
        ("fields", 415, "UNSUPPORTED_MEDIA_TYPE", typed("application/x-www-form-urlencoded").body(good.clone())),
        ("another encoding", 415, "UNSUPPORTED_ENCODING", to("").header("content-encoding", "br").body(good.clone())),
        ("broken gzip", 422, "INVALID_REQUEST", update(&shop, "", &gzip(&good)?[..20])),
        ("a bomb", 413, "PAYLOAD_TOO_LARGE", update(&shop, "", bomb)),
        ("10 MB of garbage", 413, "PAYLOAD_TOO_LARGE", update(&shop, "", vec![0x9c; 10_000_000])),
        ("5 MB of garbage", 413, "PAYLOAD_TOO_LARGE", update(&shop, "", vec![0x9c; 5_000_000])),
        ("too many lines", 413, "PAYLOAD_TOO_LARGE", update(&shop, "", gzip(&many)?)),
        ("a choice", 400, "INVALID_QUERY", update(&shop, "?on_negative=ignore", good.clone())),
        ("a parameter", 400, "INVALID_QUERY", update(&shop, "?on_negativ=reject", good.clone())),
        ("a method", 405, "METHOD_NOT_ALLOWED", shop.request(Method::GET, &path(&shop, "/bulk_update"))),
        (
            "another's path",
            404,
            "NOT_FOUND",
            stranger.request(Method::POST, &path(&shop, "/bulk_update")).body(good.clone()),
        ),
        ("no key", 401, "UNAUTHORIZED", update(&shop, "", good.clone()).header("x-api-key", "nobody's")),
    ] {
        let problem = refused(&Answer::to(request).await?, status, code).context(what)?;
        let detail = problem["detail"].as_str().unwrap_or_default();
        ensure!(status != 413 || detail.contains("/api/v1/ingest/sessions"), "{what}: {detail}");
    }
    assert!(shop.books.levels().await?.is_empty(), "nothing half done");

    // a line that is wrong is told of, and stops no other
    let digits = "9".repeat(40);
    for (line, code) in [
        (r#"{"product_id":"$","delta":NaN}"#.to_owned(), "INVALID_JSON"),
        (format!(r#"{{"product_id":"$","delta":{digits}}}"#), "OUT_OF_RANGE"),
        (r#"{"product_id":"$","delta":"many"}"#.to_owned(), "INVALID_INTEGER"),
        (r#"{"product_id":"$","delta":1e3}"#.to_owned(), "INVALID_INTEGER"),
        (r#"{"product_id":"$","delta":2147483648}"#.to_owned(), "OUT_OF_RANGE"),
        (r#"{"product_id":"$","delta":[1]}"#.to_owned(), "WRONG_TYPE"),
        (r#"{"product_id":"$"}"#.to_owned(), "MISSING_FIELD"),
        (r#"{"product_id":"$","delta":1,"set":1}"#.to_owned(), "EXCLUSIVE_FIELDS"),
        (r#"{"delta":1}"#.to_owned(), "MISSING_FIELD"),
        (r#"{"product_id":"$","delta":1,"delta":2}"#.to_owned(), "INVALID_JSON"),
        (r#"{"product_id":"$","delta":1,"source":"nowhere"}"#.to_owned(), "INVALID_CHOICE"),
        (r#"{"product_id":"$","set":1,"event_time":"2999-01-01T00:00:00Z"}"#.to_owned(), "CLOCK_SKEW"),
        (r#"{"product_id":"$","delta":1,"event_time":"01/02/2026"}"#.to_owned(), "INVALID_TIMESTAMP"),
        (format!(r#"{{"product_id":"$","delta":1,"tenant_id":"{}"}}"#, stranger.id), "TENANT_MISMATCH"),
        ("[1, 2]".to_owned(), "NOT_AN_OBJECT"),
        ("garbage".to_owned(), "INVALID_JSON"),
        ("x".repeat(2 << 20), "LINE_TOO_LONG"),
    ] {
        let shop = Shop::open(&ground).await?;
        let line = line.replace('$', &id(7).to_string());
        let answer = Answer::to(update(&shop, "", lines([line, delta(1, 1).to_string()]))).await?.json(200)?;
        let codes: Vec<_> =
            answer["errors"].as_array().into_iter().flatten().map(|error| error["code"].as_str()).collect();
        ensure!(codes.contains(&Some(code)) && answer["errors"][0]["line"] == 1, "{code}: {answer}");
        assert_eq!((&answer["counts"]["errors"], &answer["counts"]["processed"]), (&1.into(), &1.into()), "{answer}");
        assert_eq!((&answer["status"], shop.books.levels().await?), (&"partial_success".into(), [(id(1), 1)].into()));
    }
    // bytes that are no text, and no good line at all
    let answer = Answer::to(update(&shop, "", [&b"\xff\xfe\n"[..], &[0; 40], b"\n"].concat())).await?.json(200)?;
    assert_eq!((&answer["counts"]["errors"], &answer["applied"]), (&2.into(), &json!([])));
    assert_eq!(answer["errors"][0]["code"], "INVALID_UTF8");
    // a time of long ago decides nothing of a delta, and loses as a set
    let old =
        |change: &str, value: i64| json!({"product_id": id(1), change: value, "event_time": "0001-01-01T00:00:00Z"});
    let rows = [json!({"product_id": id(1), "set": 3}), old("delta", 1), old("set", 9)];
    assert_eq!(updated(&shop, "", rows).await?["applied"][0]["final_level"], 4);

    // products that are not there
    let missing = updated(&shop, "?on_missing_reference=reject", [delta(1, 1)]).await?;
    assert_eq!(missing["conflicts"][0]["code"], "MISSING_REFERENCE");
    assert_eq!(missing["conflicts"][0]["current_level"], 4);
    shop.books.levels_add_up().await
}

/// Kills a function at a point, and sends the same again until there is an answer.
async fn kill_at(shop: &Shop, point: &str, request: impl Fn() -> RequestBuilder) -> Result<Answer> {
    shop.ground.arm(point, shop.id, "kill")?;
    refused(&Answer::to(request()).await?, 503, "UNAVAILABLE").context("it was killed")?;
    ensure!(shop.ground.armed(point, shop.id).is_none(), "nothing passed the point");
    let since = Instant::now();
    loop {
        let answer = Answer::to(request()).await?;
        if answer.status != 409 {
            return Ok(answer);
        }
        ensure!(since.elapsed() < PATIENCE, "the claim does not run out");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// An update whose function dies at a point, sent again under its key: one effect, and the answer is that of it.
async fn dies(ground: &Arc<Ground>, point: &str, has_ids: bool, is_committed: bool) -> Result<()> {
    let shop = Shop::open(ground).await?;
    let rows = || {
        ndjson((0..40).map(|at| {
            let event = json!({"product_id": id(at % 4), "delta": 3, "stock_event_id": id(100 + at)});
            if has_ids { event } else { delta(at % 4, 3) }
        }))
    };
    let answer = kill_at(&shop, point, || update(&shop, "", rows()).header("idempotency-key", "once")).await?;
    ensure!((answer.header("idempotent-replayed") == Some("true")) == is_committed, "{point}: {answer:?}");
    let told = answer.json(200)?;
    assert_eq!((&told["counts"]["processed"], &told["status"]), (&40.into(), &"success".into()), "{point}: {told}");
    assert_eq!(shop.books.levels().await?, (0..4).map(|at| (id(at), 30)).collect(), "{point}");
    if has_ids {
        // without a key it does nothing either, and says so
        let again = Answer::to(update(&shop, "", rows())).await?.json(200)?;
        assert_eq!(again["counts"]["duplicates"], 40, "{point}");
        assert_eq!(again["applied"][0]["final_level"], 30, "{point}");
    }
    shop.books.levels_add_up().await
}

pub(super) async fn an_update_whose_function_dies_has_one_effect(ground: Arc<Ground>) -> Result<()> {
    let fates = async {
        tokio::try_join!(
            dies(&ground, "stock-api.before-commit", true, false),
            dies(&ground, "stock-api.before-commit", false, false),
            dies(&ground, "stock-api.after-commit", true, true),
            dies(&ground, "stock-api.after-commit", false, true),
            dies(&ground, "idempotency.answered", false, true),
        )
    };
    fates.await.map(drop)
}

pub(super) async fn an_answer_that_dynamodb_has_no_room_for_is_given_again(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let rows = ndjson((0..20_000).map(|_| json!({"product_id": Uuid::new_v4(), "delta": 3})));
    let send = || update(&shop, "", rows.clone()).header("idempotency-key", "large");
    let first = Answer::to(send()).await?;
    assert_eq!(first.json(200)?["total_events_processed"], 20_000);
    ensure!(first.text.len() > 1 << 20 && first.header("idempotent-replayed").is_none(), "{} bytes", first.text.len());
    for _ in 0..2 {
        let again = Answer::to(send()).await?;
        assert_eq!((again.status, again.header("idempotent-replayed")), (200, Some("true")));
        assert!(again.text == first.text, "byte for byte");
        assert_eq!(again.header("content-type"), first.header("content-type"));
        // nothing is left of the claim: nobody has to wait for its end
        let record = format!("{} {}", shop.id, hex::encode(name("POST", &path(&shop, "/bulk_update"), "large")));
        let key = aws_sdk_dynamodb::types::AttributeValue::S(record);
        let found =
            ground.dynamodb.get_item().table_name(ground.table("IdempotencyTable")?).key("id", key).send().await?;
        assert_eq!(found.item, None);
    }
    let other = Answer::to(update(&shop, "", ndjson([delta(1, 1)])).header("idempotency-key", "large")).await?;
    refused(&other, 422, "IDEMPOTENCY_KEY_REUSED")?;
    assert_eq!(shop.books.levels().await?.values().map(|level| i64::from(*level)).sum::<i64>(), 60_000);
    shop.books.levels_add_up().await
}

pub(super) async fn a_lock_that_is_not_had_in_time_is_503(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    updated(&shop, "", [delta(1, 5), delta(2, 5)]).await?;
    let holder = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let hold = format!(
        "begin; select set_config('app.tenant_id', '{}', true); \
         select from stock_levels where product_id = '{}' for update",
        shop.id,
        id(2)
    );
    holder.batch_execute(&hold).await?;
    let since = Instant::now();
    let (waiting, beside) = tokio::join!(
        Answer::to(update(&shop, "", ndjson([delta(1, 1), delta(2, 1)])).header("idempotency-key", "patient")),
        async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let since = Instant::now();
            updated(&shop, "", [delta(3, 1)]).await.map(|_| since.elapsed())
        },
    );
    let waiting = waiting?;
    refused(&waiting, 503, "UNAVAILABLE")?;
    assert!(waiting.header("retry-after").is_some(), "{waiting:?}");
    ensure!(since.elapsed() < Duration::from_secs(20), "it took {:?}", since.elapsed());
    ensure!(beside? < Duration::from_secs(5), "other products wait for nobody");
    holder.batch_execute("rollback").await?;
    assert_eq!(shop.books.levels().await?, [(id(1), 5), (id(2), 5), (id(3), 1)].into());
    let again =
        Answer::to(update(&shop, "", ndjson([delta(1, 1), delta(2, 1)])).header("idempotency-key", "patient")).await?;
    assert_eq!(again.json(200)?["total_events_processed"], 2, "the key was given back");
    Ok(())
}
