//! No tenant sees or touches what another has.

use crate::support::tables::{Attempts, attempt, fill, open_doors};
use crate::support::{File, Ground, Scratch, Shop, at, counts, customer, item, ndjson, order, product};
use anyhow::{Context, Result, bail};
use intake_domain::object_key::FileKey;
use intake_postgres::{Database, Error, Scope, ledger};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

fn every_dataset() -> [File; 4] {
    [
        File::new("customers.ndjson", ndjson((0..60).map(customer).chain([at(customer(61), "name", 7)]))),
        File::new("products.ndjson", ndjson((0..60).map(product))),
        File::new("orders.ndjson", ndjson((0..60).map(|number| order(number, "2026-01-31")))),
        File::new("order_items.ndjson", ndjson((0..60).map(item))),
    ]
}

pub(super) async fn two_tenants_at_once_with_the_same_ids_do_not_meet(ground: Arc<Ground>) -> Result<()> {
    let (one, other) = (Shop::open(&ground).await?, Shop::open(&ground).await?);
    let files = every_dataset();
    let ((_, ones), (_, others)) = tokio::try_join!(one.send(&files), other.send(&files))?;
    assert_eq!(counts(&ones), [241, 240, 0, 0, 1]);
    assert_eq!(counts(&others), counts(&ones));

    let changed = File::new("customers.ndjson", ndjson([at(customer(1), "name", "changed")]));
    let (_, status) = one.send(&[changed]).await?;
    assert_eq!(counts(&status), [1, 0, 1, 0, 0]);
    let sql = "select count(*)::text from customers where name = 'changed'";
    assert_eq!(one.books.texts(sql, &[]).await?, ["1"]);
    assert_eq!(other.books.texts(sql, &[]).await?, ["0"]);
    assert_eq!(one.books.rows().await?, other.books.rows().await?);
    Ok(())
}

/// Connections of the roles that functions have.
async fn roles(ground: &Ground) -> Result<[(&'static str, Client); 2]> {
    let api = intake_postgres::connect(&ground.endpoints.api_database_url).await?;
    let loader = intake_postgres::connect(&ground.endpoints.loader_database_url).await?;
    Ok([("intake_api", api), ("intake_loader", loader)])
}

async fn act_as(client: &Client, tenant: &str) -> Result<()> {
    client.execute("select set_config('app.tenant_id', $1, false)", &[&tenant]).await.map(drop).context("a setting")
}

/// How many rows a statement touches or gives; `None` when the role may not run it at all.
async fn reached(client: &Client, sql: &str, tenant: Uuid) -> Result<Option<u64>> {
    match client.execute(sql, &[&tenant]).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error).context(sql.to_owned()),
    }
}

pub(super) async fn leaf_partitions_are_closed(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    for (role, client) in roles(&ground).await? {
        act_as(&client, &shop.id.to_string()).await?;
        let sql = "select relname::text from pg_class
            where relispartition and relkind = 'r' and relnamespace = 'public'::regnamespace";
        let leaves: Vec<String> = client.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect();
        assert!(leaves.len() > 60, "{leaves:?}");
        for leaf in leaves {
            for sql in [
                format!("select from {leaf} where tenant_id = $1"),
                format!("update {leaf} set tenant_id = tenant_id where tenant_id = $1"),
                format!("delete from {leaf} where tenant_id = $1"),
            ] {
                assert_eq!(reached(&client, &sql, shop.id).await?, None, "{role}: {sql}");
            }
            let insert = format!("insert into {leaf} (tenant_id) select $1::uuid where false");
            let may_insert = reached(&client, &insert, shop.id).await?.is_some();
            assert_eq!(may_insert, role == "intake_loader", "{role} and {leaf}");
        }
    }
    Ok(())
}

pub(super) async fn every_table_is_guarded(ground: Arc<Ground>) -> Result<()> {
    let owner = intake_postgres::connect(&ground.endpoints.owner_database_url).await?;
    assert_eq!(open_doors(&owner).await?, Vec::<String>::new());
    Ok(())
}

pub(super) async fn no_tenant_reaches_another_in_any_table(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let owner = scratch.owner().await?;
    let (own, foreign) = (Uuid::now_v7(), Uuid::now_v7());
    let tables = fill(&owner, [own, foreign]).await?;
    assert!(tables >= 14, "{tables} tables");
    for (url, least_guarded) in [(&scratch.api_url, 20), (&scratch.loader_url, 24)] {
        let Attempts { leaks, forbidden, guarded } = attempt(url, &owner, own, foreign).await?;
        assert_eq!(leaks, Vec::<String>::new());
        assert_eq!(forbidden + guarded, 4 * tables);
        assert!(guarded >= least_guarded, "{guarded} of {}", 4 * tables);
    }
    Ok(())
}

/// What the two tests above would say if somebody forgot something.
pub(super) async fn a_door_that_is_left_open_is_found(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let (owner, superuser) = (scratch.owner().await?, scratch.superuser().await?);
    assert_eq!(open_doors(&owner).await?, Vec::<String>::new());
    owner
        .batch_execute(
            "create table unguarded (tenant_id uuid not null);
            create table unforced (tenant_id uuid not null);
            select isolate_tenants('unforced');
            alter table unforced no force row level security;
            create table wide (tenant_id uuid not null);
            select isolate_tenants('wide');
            create policy everybody on wide for select using (true);
            create table wrong (tenant_id uuid not null);
            alter table wrong enable row level security;
            alter table wrong force row level security;
            create policy tenant_isolation on wrong using (tenant_id is not null) with check (tenant_id is not null);
            create table nobodys (id uuid not null);
            create view seen as select * from unguarded;
            grant select (name) on customers_p3 to intake_loader;
            grant insert on orders_default to intake_api;
            grant truncate on chunks to intake_loader;
            grant select on schema_migrations to intake_api;
            create function leaky() returns uuid language sql security definer as 'select tenant_id from unguarded';
            grant select, insert, update, delete on unguarded, unforced, wide, wrong to intake_api;",
        )
        .await?;
    assert_eq!(
        open_doors(&owner).await?,
        [
            "chunks lets intake_loader past the policy",
            "customers_p3 gives intake_loader more than it should",
            "leaky runs as its owner, and anybody may call it or choose what it finds",
            "nobodys has no tenant",
            "orders_default gives intake_api more than it should",
            "schema_migrations is open to intake_api",
            "seen is no table: no policy guards it",
            "unforced does not force row-level security",
            "unguarded does not force row-level security",
            "unguarded has not the policy",
            "wide has the policy everybody besides",
            "wrong has not the policy",
        ]
    );
    superuser.batch_execute("drop view seen; drop table nobodys").await?;
    let (own, foreign) = (Uuid::now_v7(), Uuid::now_v7());
    fill(&owner, [own, foreign]).await?;
    let leaks = attempt(&scratch.api_url, &owner, own, foreign).await?.leaks;
    let leaking: BTreeSet<_> = leaks.iter().filter_map(|leak| leak.split_once(':')).map(|(table, _)| table).collect();
    assert_eq!(leaking, BTreeSet::from(["unguarded", "wide", "wrong"]), "{leaks:#?}");
    for verb in ["select", "insert", "update", "delete"] {
        let is_found = |acting: &str| leaks.iter().any(|leak| leak.starts_with(&format!("unguarded: {verb} {acting}")));
        assert!(is_found("AsNobody:") && is_found("AsNobodyAgain") && is_found("As("), "{verb}: {leaks:#?}");
    }
    Ok(())
}

pub(super) async fn a_connection_that_is_used_again_carries_no_tenant(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let token: Uuid = shop.declare(&[]).await?.token.parse()?;
    let database = Database::new(&ground.endpoints.api_database_url, "tests")?;
    // what the next statement meets: its connection, the tenant that is set, and the sessions in sight
    let next = async || {
        let sql = "select pg_backend_pid(), coalesce(current_setting('app.tenant_id', true), ''),
            (select count(*) from upload_sessions)";
        let rows = database.query("next", sql, &[]).await?;
        let row = rows.first().context("a row")?;
        anyhow::Ok((row.get::<_, i32>(0), row.get::<_, String>(1), row.get::<_, i64>(2)))
    };
    let begin = async || {
        let scope = database.begin(shop.id).await?;
        assert!(ledger::session_by_token(&scope, token).await?.is_some(), "the transaction sees its tenant's session");
        anyhow::Ok(scope)
    };
    let fail = async |scope: &Scope<'_>| {
        let failed = scope.query("failing", "select 1 / 0", &[]).await;
        assert_eq!(failed.err().as_ref().and_then(Error::sql_state_code), Some("22012"));
    };
    let (mut pid, nothing) = (next().await?.0, (String::new(), 0));
    for (end, keeps_its_connection) in [
        ("commit", true),
        ("rollback", true),
        ("an error and rollback", true),
        ("an error and commit", true),
        ("an error that is undone, and commit", true),
        ("dropped", false),
        ("an error and dropped", false),
        ("a statement that is not waited for", false),
        ("a failed run", false),
    ] {
        match end {
            "commit" => begin().await?.commit().await?,
            "rollback" => begin().await?.rollback().await?,
            "an error and rollback" => {
                let scope = begin().await?;
                fail(&scope).await;
                scope.rollback().await?;
            }
            "an error and commit" => {
                let scope = begin().await?;
                fail(&scope).await;
                scope.commit().await?;
            }
            "an error that is undone, and commit" => {
                let scope = begin().await?;
                scope.mark().await?;
                fail(&scope).await;
                scope.undo_to_mark().await?;
                scope.commit().await?;
            }
            "dropped" => drop(begin().await?),
            "an error and dropped" => {
                let scope = begin().await?;
                fail(&scope).await;
            }
            "a statement that is not waited for" => {
                let scope = begin().await?;
                let slow = scope.query("slow", "select pg_sleep(20)", &[]);
                assert!(tokio::time::timeout(Duration::from_millis(50), slow).await.is_err());
            }
            _ => {
                let work = async |scope: &mut Scope<'_>| scope.query("failing", "select 1 / 0", &[]).await.map(drop);
                assert!(database.run("failing", shop.id, work).await.is_err());
            }
        }
        let (then, tenant, sessions) = next().await?;
        assert_eq!((tenant, sessions), nothing, "after {end}");
        assert_eq!(then == pid, keeps_its_connection, "after {end}");
        pid = then;
        // and one that has a tenant of its own sees that one's
        let scope = database.begin(Uuid::now_v7()).await?;
        assert!(ledger::session_by_token(&scope, token).await?.is_none(), "after {end}");
        scope.commit().await?;
    }
    // nor does a statement of no tenant that fails leave anything behind
    assert!(database.query("failing", "select set_config('app.tenant_id', 'x', true), 1 / 0", &[]).await.is_err());
    let (_, tenant, sessions) = next().await?;
    assert_eq!((tenant, sessions), nothing);
    Ok(())
}

pub(super) async fn a_role_that_gets_around_the_policies_is_refused(ground: Arc<Ground>) -> Result<()> {
    let scratch = Scratch::new(&ground).await?;
    let superuser = scratch.superuser().await?;
    let new = async |role: &str, rest: &str| {
        let sql = format!("create role {role} login password '{role}'; grant usage on schema public to {role}; {rest}");
        superuser.batch_execute(&sql).await.with_context(|| sql.clone())
    };
    for (role, rest) in [
        ("probe_plain", "grant select on customers to probe_plain"),
        ("probe_superuser", "alter role probe_superuser superuser"),
        ("probe_bypass", "alter role probe_bypass bypassrls"),
        ("probe_replicator", "alter role probe_replicator replication"),
        ("probe_maker", "alter role probe_maker createrole"),
        ("probe_of_owner", "grant intake_owner to probe_of_owner"),
        ("probe_of_bypass", "grant probe_bypass to probe_of_bypass"),
        ("probe_of_superuser", "alter role probe_of_superuser noinherit; grant postgres to probe_of_superuser"),
        ("probe_twice_removed", "grant probe_of_bypass to probe_twice_removed"),
        ("probe_table", "create table probes (); alter table probes owner to probe_table"),
        ("probe_function", "alter function isolate_tenants owner to probe_function"),
        ("probe_view", "create view probe_seen as select 1 as one; alter view probe_seen owner to probe_view"),
        ("probe_reader", "grant pg_read_all_data to probe_reader"),
        ("probe_leaf", "grant select (email) on customers_p0 to probe_leaf"),
        ("probe_leaf_remover", "grant delete on orders_default to probe_leaf_remover"),
        ("probe_schema", "alter schema public owner to probe_schema"),
        ("probe_database", &format!("alter database {} owner to probe_database", scratch.name)),
    ] {
        new(role, rest).await?;
    }
    let refused = async |url: &str| {
        let database = Database::new(url, "tests")?;
        match database.begin(Uuid::now_v7()).await {
            Ok(scope) => scope.rollback().await.map(|()| None).map_err(anyhow::Error::from),
            Err(Error::Privileged { role, holder, reason }) => {
                // nothing gets past it, however often it is tried, and with whatever comes first
                assert!(database.query("any", "select 1", &[]).await.is_err(), "{role}");
                Ok(Some(format!("{holder} {reason}")))
            }
            Err(error) => Err(error.into()),
        }
    };
    for url in [&scratch.api_url, &scratch.loader_url, &scratch.url_of("probe_plain")?] {
        assert_eq!(refused(url).await?, None);
    }
    for (role, expected) in [
        ("probe_superuser", "probe_superuser is a superuser"),
        ("probe_bypass", "probe_bypass has BYPASSRLS"),
        ("probe_replicator", "probe_replicator may replicate"),
        ("probe_maker", "probe_maker may make roles"),
        ("probe_of_owner", "intake_owner may make roles"),
        ("probe_of_bypass", "probe_bypass has BYPASSRLS"),
        ("probe_of_superuser", "postgres is a superuser"),
        ("probe_twice_removed", "probe_bypass has BYPASSRLS"),
        ("probe_table", "probe_table owns what it works on"),
        ("probe_function", "probe_function owns what it works on"),
        ("probe_view", "probe_view owns what it works on"),
        ("probe_reader", "probe_reader may read or change leaf partitions"),
        ("probe_leaf", "probe_leaf may read or change leaf partitions"),
        ("probe_leaf_remover", "probe_leaf_remover may read or change leaf partitions"),
        ("probe_schema", "probe_schema owns what it works on"),
        ("probe_database", "probe_database owns what it works on"),
    ] {
        assert_eq!(refused(&scratch.url_of(role)?).await?.as_deref(), Some(expected), "{role}");
    }
    let owner = refused(&ground.endpoints.owner_database_url).await?;
    assert_eq!(owner.as_deref(), Some("intake_owner may make roles"));
    Ok(())
}

/// The number of the partitions in which a tenant's rows lie.
const LEAF: &str = "select remainder::text from generate_series(0, 7) as remainder
    where satisfies_hash_partition('customers'::regclass, 8, remainder, $1::uuid)";

/// A shop whose rows lie in the same partitions as another's, so that nothing but the loader's own care keeps them
/// apart.
async fn neighbour(shop: &Shop) -> Result<Shop> {
    let wanted = shop.books.texts(LEAF, &[&shop.id]).await?;
    for _ in 0..200 {
        let other = Shop::open(&shop.ground).await?;
        if shop.books.texts(LEAF, &[&other.id]).await? == wanted {
            return Ok(other);
        }
    }
    bail!("none of 200")
}

pub(super) async fn a_loader_leaves_no_row_in_another_tenant(ground: Arc<Ground>) -> Result<()> {
    let shop = Shop::open(&ground).await?;
    let other = neighbour(&shop).await?;
    // the database alone would let it: a partition has no policy, and this one takes both
    let loader = intake_postgres::connect(&ground.endpoints.loader_database_url).await?;
    act_as(&loader, &shop.id.to_string()).await?;
    let leaf = &shop.books.texts(LEAF, &[&shop.id]).await?[0];
    let sql = format!("insert into customers_p{leaf} values ($1, $1, 'a', 'b', null, now(), '')");
    loader.batch_execute("begin").await?;
    assert_eq!(reached(&loader, &sql, other.id).await?, Some(1));
    loader.batch_execute("rollback").await?;

    let file = File::new("customers.ndjson", ndjson((0..5).map(customer)));
    let work = async {
        for forged in ["the whole object", "its rows"] {
            let session = shop.declare(std::slice::from_ref(&file)).await?;
            let key = FileKey { tenant_id: shop.id, session_id: session.id, file_id: session.file_id(0) }.staged(0);
            ground.arm(STAGED, shop.id, "sleep 2000")?;
            shop.upload(&session, std::slice::from_ref(&file)).await?;
            while ground.armed(STAGED, shop.id).is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // the loader has put its rows down and has not said so yet
            let (s3, bucket) = (&ground.s3, &ground.endpoints.bucket);
            let staged = s3.get_object().bucket(bucket).key(&key).send().await?.body.collect().await?.to_vec();
            let swapped = swap(&staged, shop.id, other.id, forged == "the whole object");
            s3.put_object().bucket(bucket).key(&key).body(swapped.into()).send().await?;

            let status = shop.ended(&session).await?;
            assert_eq!(status["state"], "failed", "{forged}: {status:#}");
            // whoever gives it up first
            let code = status["files"][0]["error"]["code"].as_str().unwrap_or_default();
            assert!(["PROMOTION_FAILED", "DEAD_LETTER"].contains(&code), "{forged}: {status:#}");
            for shop in [&shop, &other] {
                assert_eq!(shop.books.rows().await?["customers"], 0, "{forged}");
            }
        }
        Ok(())
    };
    ground.hurried(work).await?;
    // the same file as it is goes in
    let (_, status) = shop.send(&[file]).await?;
    assert_eq!(counts(&status), [5, 5, 0, 0, 0]);
    assert_eq!(other.books.rows().await?["customers"], 0);
    Ok(())
}

/// Where a loader has put its rows down.
const STAGED: &str = "load-chunk.after-put";

/// A staged object with one tenant in the place of another: wherever it stands, or in the rows alone.
fn swap(staged: &[u8], from: Uuid, to: Uuid, everywhere: bool) -> Vec<u8> {
    let mut swapped = staged.to_vec();
    let places: Vec<_> = (0..staged.len() - 15).filter(|at| staged[*at..].starts_with(from.as_bytes())).collect();
    assert!(places.len() > 1, "its head and its rows");
    for at in places.into_iter().skip(usize::from(!everywhere)) {
        swapped[at..at + 16].copy_from_slice(to.as_bytes());
    }
    swapped
}
