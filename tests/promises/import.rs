//! The predecessor's database comes over: every row is there or accounted for, from each kind of database that it ran on.

use crate::support::{Answer, Books, Ground, MariaDb, Predecessor};
use anyhow::{Context, Result, ensure};
use intake::output::{Output, Verdict};
use intake_domain::{api_key, dataset};
use intake_import::predecessor::{Location, Names, Table};
use intake_import::{Report, Wanted, check, import};
use intake_postgres::{audit, keys};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How many rows of each table a tenant has, and how many of them are refused.
const ROWS: [(Table, u64, u64); 7] = [
    (Table::Customers, 40, 1),
    (Table::Products, 30, 1),
    (Table::Orders, 120, 2),
    (Table::OrderItems, 300, 0),
    (Table::PriceHistory, 60, 0),
    (Table::StockEvents, 90, 0),
    (Table::StockLevels, 30, 1),
];

/// A folder of a test's own.
fn folder(ground: &Ground) -> Result<PathBuf> {
    let folder = ground.logs().with_file_name("tmp").join(Uuid::now_v7().to_string());
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn wanted(ground: &Ground, location: Location, folder: PathBuf) -> Wanted {
    Wanted {
        tls: location.default_tls(),
        location,
        names: Names::default(),
        tenants: Vec::new(),
        api_url: ground.endpoints.api_url.clone(),
        database_url: ground.endpoints.owner_database_url.clone(),
        on_missing_reference: None,
        folder,
        fresh: false,
        keep_files: false,
    }
}

/// A predecessor in a file of SQLite, and what it takes to import it.
fn sqlite(ground: &Ground) -> Result<(Predecessor, PathBuf, Wanted)> {
    let (old, folder) = (Predecessor::new(), folder(ground)?);
    let file = folder.join("old.db");
    old.write_sqlite(&file)?;
    let location = Location::parse(&format!("sqlite:{}", file.display()), None)?;
    Ok((old, file, wanted(ground, location, folder.join("import"))))
}

pub(super) async fn a_sqlite_file_comes_over(ground: Arc<Ground>) -> Result<()> {
    let (old, _, wanted) = sqlite(&ground)?;
    comes_over(&ground, &old, &wanted).await
}

pub(super) async fn a_postgresql_database_comes_over(ground: Arc<Ground>) -> Result<()> {
    let old = Predecessor::new();
    let name = format!("old_{}", Uuid::now_v7().simple());
    let superuser = intake_postgres::connect(&ground.superuser_database_url()?).await?;
    let password = Uuid::new_v4().simple().to_string();
    // whoever reads must say which zone is meant
    for statement in [
        format!("create role {name} login password '{password}'"),
        format!("create database {name} owner {name}"),
        format!("alter database {name} set timezone to 'Asia/Kolkata'"),
    ] {
        superuser.batch_execute(&statement).await?;
    }
    let (_, server) = ground.endpoints.owner_database_url.split_once('@').context("a URL")?;
    let (server, _) = server.rsplit_once('/').context("a URL")?;
    let client = intake_postgres::connect(&format!("postgres://{name}:{password}@{server}/{name}")).await?;
    old.write_postgres(&client).await?;

    let url = format!("postgres://{name}@{server}/{name}");
    let wanted = |password: &str| -> Result<Wanted> {
        Ok(wanted(&ground, Location::parse(&url, Some(password.to_owned()))?, folder(&ground)?.join("import")))
    };
    let refused = refusal(&wanted("wrong")?).await?;
    ensure!(refused.contains("refuses the user or the password") && !refused.contains("wrong"), "{refused}");
    comes_over(&ground, &old, &wanted(&password)?).await
}

pub(super) async fn a_mariadb_database_comes_over(ground: Arc<Ground>) -> Result<()> {
    let (old, server) = (Predecessor::new(), MariaDb::start(&ground).await?);
    old.write_mariadb(&server).await?;
    let wanted = |url: &str, password: &str| -> Result<Wanted> {
        Ok(wanted(&ground, Location::parse(url, Some(password.to_owned()))?, folder(&ground)?.join("import")))
    };
    let refused = refusal(&wanted(&server.url(), "wrong")?).await?;
    ensure!(refused.contains("refuses the user or the password") && !refused.contains("wrong"), "{refused}");
    let nowhere = refusal(&wanted(&server.url().replace("/old", "/older"), &server.password)?).await?;
    ensure!(nowhere.contains("older"), "{nowhere}");
    comes_over(&ground, &old, &wanted(&server.url(), &server.password)?).await
}

/// Why an import does not even begin.
async fn refusal(wanted: &Wanted) -> Result<String> {
    let refused = import(wanted, &Output::new(true)).await;
    Ok(format!("{:#}", refused.err().context("it begins")?))
}

/// Imports, and finds every row, in every value, or its refusal.
async fn comes_over(ground: &Ground, old: &Predecessor, wanted: &Wanted) -> Result<()> {
    let output = Output::new(true);
    // what can be seen without sending anything
    let seen = check(wanted, &output).await?;
    ensure!(seen.verdict() == Verdict::Rejected, "{seen:#?}");
    let report = import(wanted, &output).await?;
    is_as_it_should_be(ground, old, wanted, &report).await?;

    // once more, and nothing happens but that it is told again
    let again = import(wanted, &output).await?;
    ensure!(again.finished_at == report.finished_at && again.finished_at.is_some(), "{again:#?}");
    is_as_it_should_be(ground, old, wanted, &again).await
}

async fn is_as_it_should_be(ground: &Ground, old: &Predecessor, wanted: &Wanted, report: &Report) -> Result<()> {
    let lines = report.lines().join("\n");
    ensure!(report.verdict() == Verdict::Rejected, "{lines}");
    ensure!(report.unowned.values().sum::<u64>() == 1 && report.unowned[&Table::OrderItems] == 1, "{lines}");
    ensure!(!wanted.folder.join("files").exists(), "what shops have of their customers is left behind");
    for tenant in &old.tenants {
        let told = report.tenants.iter().find(|told| told.tenant_id == tenant.id).context("a tenant")?;
        assert_eq!((told.name.as_str(), told.error.as_deref()), (tenant.name.as_str(), None));
        for (table, rows, refused) in ROWS {
            let told = &told.tables[&table];
            let counts =
                [told.source_rows, told.read_rows, told.promoted, told.rejected, told.intake_rows, told.others];
            assert_eq!(counts, [rows, rows, rows - refused, refused, rows - refused, 0], "{table}\n{lines}");
            assert!(told.compared.iter().all(|line| line.disagreements.is_empty()), "{lines}");
            let codes = old.table(table.name()).rows.iter().filter(|row| row.tenant == Some(tenant.id));
            let codes = codes.filter_map(|row| row.refused).fold(BTreeMap::new(), |mut codes, code| {
                *codes.entry(code.to_owned()).or_insert(0) += 1;
                codes
            });
            assert_eq!(told.codes, codes, "{table}");
        }
        assert_eq!(told.tables[&Table::Products].rounded, 1);
        holds_the_rows(ground, old, tenant.id).await.with_context(|| lines.clone())?;
        keeps_its_key(ground, tenant.id, &tenant.key).await?;

        let refused = std::fs::read_to_string(wanted.folder.join(format!("rejects/orders_{}.ndjson", tenant.id)))?;
        let refused: Vec<Value> = refused.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        assert_eq!(refused.iter().map(|line| &line["record"]["currency"]).collect::<Vec<_>>(), ["EURO", "EUR"]);
    }
    Ok(())
}

/// Every value of every row is what it was.
async fn holds_the_rows(ground: &Ground, old: &Predecessor, tenant: Uuid) -> Result<()> {
    let books = Books::new(&ground.endpoints.owner_database_url, tenant);
    books.balance().await?;
    for table in ["customers", "products", "orders", "order_items", "price_history", "stock_events"] {
        let known = dataset::by_name(table).context("a dataset")?;
        let mut there = books.table(known).await?;
        for (id, fields) in old.expected(table, tenant) {
            let row = there.remove(&id).with_context(|| format!("{table}: {id} is missing"))?;
            let found: BTreeMap<_, _> = known.fields.iter().map(|field| field.name).zip(row.cells).collect();
            for (name, expected) in fields {
                let found = match name {
                    "created_at" => row.created_at.map(|at| at.to_string()),
                    // what the sender believed it was is replaced by what it is
                    "resulting_level" => continue,
                    _ => found[name].clone(),
                };
                let is_object = matches!(name, "metadata" | "raw_payload" | "meta");
                let parse = |text: &Option<String>| text.as_deref().map(serde_json::from_str::<Value>).transpose();
                let is_same = if is_object { parse(&found)? == parse(&expected)? } else { found == expected };
                ensure!(is_same, "{table} {id}, {name}: {expected:?} was to come, {found:?} is there");
            }
        }
        // levels came as events
        let besides = if table == "stock_events" { 29 } else { 0 };
        ensure!(there.len() == besides, "{table}: {} rows besides", there.len());
    }
    let mut levels: BTreeMap<_, _> = books.levels().await?;
    for row in old.table("stock_levels").rows.iter().filter(|row| row.tenant == Some(tenant)) {
        let product = crate::support::cell_uuid(&row.cells[0]).context("an id")?;
        let level = levels.remove(&product).map(i64::from);
        let was = crate::support::cell_integer(&row.cells[1]).context("a level")?;
        match row.refused {
            None => ensure!(level == Some(was), "{product}: {was} was to come, {level:?} is there"),
            Some(_) => ensure!(level.is_some_and(|level| level >= 0), "{product}: {level:?}"),
        }
    }
    ensure!(levels.is_empty(), "levels of other products: {levels:?}");
    Ok(())
}

/// The key that the tenant's scripts have opens the door, its hash does not, and no other is left.
async fn keeps_its_key(ground: &Ground, tenant: Uuid, key: &str) -> Result<()> {
    let ask = async |key: &str| {
        let url = format!("{}/api/v1/ingest/sessions?limit=1", ground.endpoints.api_url);
        anyhow::Ok(Answer::to(ground.http.get(url).header("x-api-key", key)).await?.status)
    };
    assert_eq!(ask(key).await?, 200);
    assert_eq!(ask(&hex::encode(api_key::hash(key))).await?, 401, "a hash is no key");
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    let keys = keys::list(&owner, Some(tenant)).await?;
    let live: Vec<_> = keys.iter().filter(|key| key.is_live()).collect();
    assert_eq!(live.len(), 1, "{keys:?}");
    ensure!(!live[0].prefix.starts_with("itk_"), "{keys:?}");
    let entries = audit::list(&owner, Some(tenant), Duration::from_secs(3_600)).await?;
    for action in ["key_imported", "key_rotated", "key_revoked"] {
        ensure!(entries.iter().any(|entry| entry.action == action), "{action}: {entries:?}");
    }
    Ok(())
}

pub(super) async fn an_import_that_dies_goes_on_and_doubles_nothing(ground: Arc<Ground>) -> Result<()> {
    let (old, _, wanted) = sqlite(&ground)?;
    let output = Output::new(true);
    // before anything is sent, while sessions are opened, while files go up
    for millis in [1, 20, 60, 120, 250] {
        let died = tokio::time::timeout(Duration::from_millis(millis), import(&wanted, &output)).await;
        ensure!(died.is_err(), "it had time enough in {millis} ms");
    }
    // and while rows are promoted
    ground.arm("promote-file.before-commit", old.tenants[0].id, "sleep 2500")?;
    let died = tokio::time::timeout(Duration::from_millis(2_000), import(&wanted, &output)).await;
    ensure!(died.is_err(), "it did not wait for its end");
    let report = import(&wanted, &output).await?;
    is_as_it_should_be(&ground, &old, &wanted, &report).await?;
    // what was under way goes on in its own session: nothing came twice
    let books = Books::new(&ground.endpoints.owner_database_url, old.tenants[0].id);
    let twice = "select format('%s: %s', file_id, unchanged) from chunks where unchanged > 0 or updated > 0";
    assert_eq!(books.texts(twice, &[]).await?, Vec::<String>::new());
    Ok(())
}

pub(super) async fn what_has_changed_since_comes_with_the_next_import(ground: Arc<Ground>) -> Result<()> {
    let (old, file, mut wanted) = sqlite(&ground)?;
    let (output, tenant) = (Output::new(true), &old.tenants[0]);
    wanted.tenants = vec![tenant.id];
    let first = import(&wanted, &output).await?;
    assert_eq!((first.tenants.len(), first.verdict()), (1, Verdict::Rejected), "{}", first.lines().join("\n"));

    let id = tenant.id.simple();
    let connection = rusqlite::Connection::open(&file)?;
    connection.execute_batch(&format!(
        "update orders set total_amount = 77.77 where tenant_id = '{id}' and external_order_id = 'ORD-0003';
         update stock_levels set level = 1000, updated_at = '2026-04-20 00:00:00'
         where tenant_id = '{id}' and level = 8;
         delete from customers where tenant_id = '{id}' and name = 'Customer 20'"
    ))?;
    wanted.fresh = true;
    let second = import(&wanted, &output).await?;
    let told = &second.tenants[0].tables;
    assert_eq!(second.verdict(), Verdict::Rejected, "{}", second.lines().join("\n"));
    // what the source has no more is there, and told apart
    let customers = &told[&Table::Customers];
    assert_eq!((customers.source_rows, customers.intake_rows, customers.others), (39, 38, 1));
    // of a level that has changed, the event that set it before is one that the source does not have
    assert_eq!((told[&Table::StockEvents].intake_rows, told[&Table::StockEvents].others), (90, 1));
    let books = Books::new(&ground.endpoints.owner_database_url, tenant.id);
    books.balance().await?;
    let total = "select total_amount::text from orders where external_order_id = 'ORD-0003'";
    assert_eq!(books.texts(total, &[]).await?, ["77.77"]);
    assert_eq!(books.levels().await?.values().filter(|level| **level == 1_000).count(), 1);
    let keys =
        keys::list(&intake_postgres::connect(&ground.endpoints.owner_database_url).await?, Some(tenant.id)).await?;
    assert_eq!(keys.iter().filter(|key| key.is_live()).count(), 1);
    Ok(())
}

pub(super) async fn what_stands_in_the_way_is_named(ground: Arc<Ground>) -> Result<()> {
    let (_, file, given) = sqlite(&ground)?;
    let connection = rusqlite::Connection::open(&file)?;
    let at = |path: &str| Location::parse(&format!("sqlite:{path}"), None);

    let mut nowhere = given.clone();
    nowhere.location = at("/nowhere/old.db")?;
    let refused = refusal(&nowhere).await?;
    ensure!(refused.contains("cannot open sqlite:/nowhere/old.db"), "{refused}");
    std::fs::write(file.with_extension("txt"), "tenant_id,name\n".repeat(100))?;
    nowhere.location = at(&file.with_extension("txt").display().to_string())?;
    let refused = refusal(&nowhere).await?;
    ensure!(refused.contains("cannot open sqlite:") && refused.contains("not a database"), "{refused}");

    connection.execute_batch("alter table orders rename to ingest_order")?;
    let refused = refusal(&given).await?;
    ensure!(refused.contains("has no table orders for orders; `--table orders=NAME`"), "{refused}");
    let mut named = given.clone();
    named.names.tables.insert(Table::Orders, "main.ingest_order".to_owned());
    ensure!(check(&named, &Output::new(true)).await?.verdict() == Verdict::Rejected);
    connection.execute_batch("alter table ingest_order rename column external_order_id to number")?;
    let refused = refusal(&named).await?;
    ensure!(
        refused.contains(
            "the table main.ingest_order has no column external_order_id; it has tenant_id, order_id, number"
        ),
        "{refused}"
    );
    named.names.without.extend([Table::Orders, Table::OrderItems]);
    named.tenants = vec![Uuid::nil()];
    let refused = refusal(&named).await?;
    ensure!(refused.contains("the source has no tenant 00000000"), "{refused}");
    connection
        .execute_batch("update tenants set tenant_id = 'first' where rowid = (select min(rowid) from tenants)")?;
    named.tenants.clear();
    let refused = refusal(&named).await?;
    ensure!(refused.contains("the id \"first\" is no UUID"), "{refused}");
    Ok(())
}

pub(super) async fn a_side_that_differs_is_no_success(ground: Arc<Ground>) -> Result<()> {
    let (old, _, wanted) = sqlite(&ground)?;
    let (output, tenant) = (Output::new(true), old.tenants[0].id);
    // the import dies when everything is there, and before both sides are compared, an order and a level change
    let mut unreachable = wanted.clone();
    unreachable.api_url = "http://127.0.0.1:9".to_owned();
    let failed = import(&unreachable, &output).await?;
    ensure!(failed.verdict() == Verdict::Failed, "{}", failed.lines().join("\n"));
    let why = failed.tenants[0].error.as_deref().context("a reason")?;
    ensure!(why.contains("the temporary key itk_") && why.contains("the same command goes on"), "{why}");
    let refused = refusal(&wanted).await?;
    ensure!(refused.contains("another API") && refused.contains("--fresh"), "{refused}");

    let mut kept = wanted.clone();
    (kept.fresh, kept.keep_files) = (true, true);
    let agreed = import(&kept, &output).await?;
    ensure!(agreed.verdict() == Verdict::Rejected, "{}", agreed.lines().join("\n"));
    // as if it had not been compared yet
    let note = kept.folder.join("import.json");
    let mut import_note: Value = serde_json::from_slice(&std::fs::read(&note)?)?;
    import_note["finished_at"] = Value::Null;
    std::fs::write(&note, import_note.to_string())?;
    let books = Books::new(&ground.endpoints.owner_database_url, tenant);
    books.execute("update order_items set line_total = line_total + 0.01 where quantity = 5", &[]).await?;
    books.execute("delete from price_history where price = 5.07", &[]).await?;
    kept.fresh = false;
    let differs = import(&kept, &output).await?;
    let lines = differs.lines().join("\n");
    ensure!(differs.verdict() == Verdict::Failed, "{lines}");
    for why in [
        "order_items, line_total:",
        "price_history, rows: 60 rows were taken, and 59 of them are there",
        "price_history, price: 317.70 were to come, and 312.63 are there",
    ] {
        ensure!(lines.contains(why), "{why}\n{lines}");
    }
    Ok(())
}
