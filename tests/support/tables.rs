//! Every table as the catalog has it: what guards it, a row for each, and what a role reaches of it.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

/// Tables of no tenant: nothing in them is anybody's.
const OF_NO_TENANT: [&str; 1] = ["schema_migrations"];

/// The roles that functions have.
pub(crate) const ROLES: [&str; 2] = ["intake_api", "intake_loader"];

/// The one policy, as PostgreSQL writes it.
const POLICY: &str = "(tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid))";

/// Everything by which a tenant's rows could be reached past the policy: a relation of the schema without it, another
/// policy beside it, rights on partitions, functions that run as their owner.
pub(crate) async fn open_doors(client: &Client) -> Result<Vec<String>> {
    let sql = format!(
        "with relations as (
            select oid, relname::text as name, relkind, relispartition, relowner,
                relrowsecurity and relforcerowsecurity as is_forced,
                exists (select from pg_attribute where attrelid = pg_class.oid and attname = 'tenant_id') as has_tenant
            from pg_class
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'f')
        ), functions_roles as (
            select oid, rolname::text as role from pg_roles where rolname in ('{}', '{}')
        ), policies as (
            select polrelid, polname::text as name, polpermissive and polcmd = '*' and polroles = '{{0}}' as is_for_all,
                replace(pg_get_expr(polqual, polrelid), ' AS \"nullif\"', '') as seen,
                replace(pg_get_expr(polwithcheck, polrelid), ' AS \"nullif\"', '') as written,
                polroles = array[relowner] as is_the_owners
            from pg_policy join pg_class on pg_class.oid = polrelid
        )
        select name || ' is no table: no policy guards it' from relations where relkind not in ('r', 'p')
        union all
        select name || ' has no tenant' from relations
        where relkind in ('r', 'p') and not has_tenant and name <> all ($1)
        union all
        select name || ' is open to ' || role from relations, functions_roles
        where name = any ($1) and has_table_privilege(role, relations.oid, 'select, insert, update, delete, truncate')
        union all
        select name || ' does not force row-level security' from relations
        where relkind in ('r', 'p') and has_tenant and not relispartition and not is_forced
        union all
        select name || ' has not the policy' from relations
        where relkind in ('r', 'p') and has_tenant and not relispartition and not exists (
            select from policies
            where polrelid = relations.oid and policies.name = 'tenant_isolation' and is_for_all
                and seen = $2 and written = $2
        )
        union all
        select relations.name || ' has the policy ' || policies.name || ' besides' from relations, policies
        where polrelid = relations.oid and policies.name <> 'tenant_isolation' and not is_the_owners
        union all
        select name || ' gives ' || role || ' more than it should' from relations, functions_roles
        where relispartition and (
            has_table_privilege(role, relations.oid, 'delete, truncate, references, trigger')
            or has_any_column_privilege(role, relations.oid, 'select, update, references')
            or role = 'intake_api' and has_any_column_privilege(role, relations.oid, 'insert')
        )
        union all
        select name || ' lets ' || role || ' past the policy' from relations, functions_roles
        where has_table_privilege(role, relations.oid, 'truncate, references, trigger')
        union all
        select proname || ' runs as its owner, and anybody may call it or choose what it finds' from pg_proc
        where pronamespace = 'public'::regnamespace and prosecdef and (
            has_function_privilege('public', pg_proc.oid, 'execute')
            or coalesce(array_to_string(proconfig, ';'), '') <> 'search_path=pg_catalog, pg_temp'
        )
        order by 1",
        ROLES[0], ROLES[1]
    );
    let rows = client.query(&sql, &[&OF_NO_TENANT.as_slice(), &POLICY]).await.context("the catalog")?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A table that holds rows of tenants, leaf partitions apart.
pub(crate) struct TenantTable {
    pub(crate) name: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: String,
    /// How many characters it takes.
    length: i32,
    is_required: bool,
    /// What it refers to: table and column.
    refers_to: Option<(String, String)>,
}

fn read_column(row: &Row) -> Column {
    let to: Option<String> = row.get("to_table");
    Column {
        name: row.get("name"),
        kind: row.get("kind"),
        length: row.get("length"),
        is_required: row.get("is_required"),
        refers_to: to.zip(row.get("to_column")),
    }
}

/// Every table with a tenant, those first that others refer to.
pub(crate) async fn tenant_tables(client: &Client) -> Result<Vec<TenantTable>> {
    let sql = "
        select relname::text as table_name, attname::text as name, typname::text as kind,
            case when atttypmod > 4 and typname in ('varchar', 'bpchar') then atttypmod - 4 else 32 end as length,
            attnotnull and not atthasdef and attidentity = ''
                -- an event has a delta or a set
                or (relname, attname) = ('stock_events', 'delta') as is_required,
            confrelid::regclass::text as to_table,
            (select other.attname::text from pg_attribute as other
                where other.attrelid = confrelid and other.attnum = confkey[1]) as to_column
        from pg_class
        join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
        join pg_type on pg_type.oid = atttypid
        left join pg_constraint on contype = 'f' and conrelid = pg_class.oid and conkey = array[attnum]
        where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace
            and relname <> all ($1)
        order by relname, attnum";
    let mut columns = BTreeMap::<String, Vec<Column>>::new();
    for row in client.query(sql, &[&OF_NO_TENANT.as_slice()]).await? {
        columns.entry(row.get("table_name")).or_default().push(read_column(&row));
    }
    let (mut tables, mut there) = (Vec::new(), BTreeSet::new());
    while !columns.is_empty() {
        let is_ready = |_: &String, columns: &mut Vec<Column>| {
            let mut needed =
                columns.iter().filter(|column| column.is_filled()).filter_map(|column| column.refers_to.as_ref());
            needed.all(|(table, _)| there.contains(table))
        };
        let ready: Vec<_> = columns.extract_if(.., is_ready).collect();
        ensure!(!ready.is_empty(), "these refer to one another: {:?}", columns.keys());
        there.extend(ready.iter().map(|(name, _)| name.clone()));
        tables.extend(ready.into_iter().map(|(name, columns)| TenantTable { name, columns }));
    }
    Ok(tables)
}

impl TenantTable {
    /// A statement that inserts another row of the tenant each time that it is run. What the row refers to is the
    /// tenant's and must be there.
    pub(crate) async fn insert(&self, owner: &Client, tenant: Uuid) -> Result<String> {
        owner.execute("select set_config('app.tenant_id', $1, false)", &[&tenant.to_string()]).await?;
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in self.columns.iter().filter(|column| column.is_filled()) {
            names.push(column.name.as_str());
            values.push(match &column.refers_to {
                _ if column.name == "tenant_id" => format!("'{tenant}'::uuid"),
                Some((table, of)) => {
                    let sql = format!("select quote_literal({of}::text) from {table} where tenant_id = $1 limit 1");
                    let row = owner.query_opt(&sql, &[&tenant]).await?;
                    let value: String = row.with_context(|| format!("{table} has no row"))?.get(0);
                    format!("{value}::{}", column.kind)
                }
                None => column.any_value().with_context(|| format!("of {}", self.name))?,
            });
        }
        Ok(format!("insert into {} ({}) values ({})", self.name, names.join(", "), values.join(", ")))
    }

    /// An update that changes nothing, of a column that the role may update, as far as there is one.
    async fn update(&self, client: &Client) -> Result<String> {
        for column in &self.columns {
            let sql = "select has_column_privilege($1::text, $2::text, 'select')
                and has_column_privilege($1::text, $2::text, 'update')";
            let may = client.query_one(sql, &[&self.name, &column.name]).await?.get(0);
            if may {
                return Ok(format!("update {} set {column} = {column}", self.name, column = column.name));
            }
        }
        Ok(format!("update {} set tenant_id = tenant_id", self.name))
    }

    async fn may(&self, client: &Client, verb: &str) -> Result<bool> {
        // rights on single columns are rights, too, and a row is only ever deleted whole
        let sql = match verb {
            "delete" => "select has_table_privilege($1::text, $2)",
            _ => "select has_any_column_privilege($1::text, $2)",
        };
        Ok(client.query_one(sql, &[&self.name, &verb]).await?.get(0))
    }
}

impl Column {
    /// Whether a row needs it.
    fn is_filled(&self) -> bool {
        self.is_required || self.name == "tenant_id"
    }

    /// Some value of its type, another one each time as far as there are several.
    fn any_value(&self) -> Result<String> {
        Ok(match self.kind.as_str() {
            "uuid" => "gen_random_uuid()".to_owned(),
            "bytea" => "sha256(gen_random_uuid()::text::bytea)".to_owned(),
            // a word that is one of a list
            "varchar" if self.name == "outcome" => "'stale_ignored'".to_owned(),
            "varchar" | "bpchar" | "text" => format!("left(md5(random()::text), {})", self.length),
            "int2" | "int4" | "int8" | "numeric" => "1 + floor(random() * 30000)".to_owned(),
            "bool" => "false".to_owned(),
            "timestamptz" => "clock_timestamp()".to_owned(),
            "date" => "current_date".to_owned(),
            "json" | "jsonb" => "'{}'".to_owned(),
            "inet" => "'192.0.2.1'".to_owned(),
            other => anyhow::bail!("no value is known for the column {}, which is {other}", self.name),
        })
    }
}

/// What came of a statement.
#[derive(Debug, PartialEq, Eq)]
enum Reached {
    /// The role may not run it, or the policy refused its row.
    Refused,
    /// It gave or touched so many rows.
    Rows(u64),
}

/// What of a transaction's tenant is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acting {
    /// Nothing, on a connection that never had one.
    AsNobody,
    /// Nothing, on a connection that had one.
    AsNobodyAgain,
    As(Uuid),
}

/// Runs a statement and undoes it.
async fn reach(client: &mut Client, acting: Acting, sql: &str) -> Result<Reached> {
    let transaction = client.transaction().await?;
    let set = "select set_config('app.tenant_id', $1, true)";
    match acting {
        Acting::AsNobody => {}
        Acting::AsNobodyAgain => drop(transaction.execute(set, &[&""]).await?),
        Acting::As(tenant) => drop(transaction.execute(set, &[&tenant.to_string()]).await?),
    }
    let reached = match transaction.execute(sql, &[]).await {
        Ok(rows) => Reached::Rows(rows),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Reached::Refused,
        Err(error) => return Err(error).with_context(|| format!("{acting:?}: {sql}")),
    };
    transaction.rollback().await?;
    Ok(reached)
}

/// What was tried.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    /// What reached a row that is not the tenant's, or wrote one.
    pub(crate) leaks: Vec<String>,
    /// Statements that the role may not run at all.
    pub(crate) forbidden: usize,
    /// Statements that reach the tenant's own rows, and so showed that no other's are reached.
    pub(crate) guarded: usize,
}

/// Tries every verb on every table as the role of a connection: as a tenant upon what another has, and as none. Both
/// tenants have rows in every table, as [`TenantTable::insert`] makes them.
pub(crate) async fn attempt(url: &str, owner: &Client, own: Uuid, foreign: Uuid) -> Result<Attempts> {
    let mut attempts = Attempts::default();
    let tables = tenant_tables(owner).await?;
    let mut used = intake_postgres::connect(url).await?;
    for table in &tables {
        for verb in ["select", "insert", "update", "delete"] {
            let insert = |tenant| table.insert(owner, tenant);
            let write = match verb {
                "select" => format!("select tenant_id from {}", table.name),
                "update" => table.update(&used).await?,
                "delete" => format!("delete from {}", table.name),
                _ => String::new(),
            };
            let statement = async |of: Uuid| match verb {
                "insert" => insert(of).await,
                _ => Ok(format!("{write} where tenant_id = '{of}'")),
            };
            let mine = reach(&mut used, Acting::As(own), &statement(own).await?).await?;
            if !table.may(&used, verb).await? {
                ensure!(mine == Reached::Refused, "{verb} on {}: forbidden, and {mine:?}", table.name);
                attempts.forbidden += 1;
                continue;
            }
            ensure!(matches!(mine, Reached::Rows(1..)), "{verb} on {} as its own tenant: {mine:?}", table.name);
            attempts.guarded += 1;
            // a connection that never had a tenant
            let mut fresh = intake_postgres::connect(url).await?;
            for acting in [Acting::AsNobody, Acting::AsNobodyAgain, Acting::As(own)] {
                let client = if acting == Acting::AsNobody { &mut fresh } else { &mut used };
                let mut tries = vec![statement(foreign).await?];
                if verb != "insert" && acting == Acting::As(own) {
                    // nor does one that names no tenant reach more than one's own
                    tries.push(format!("{write} where tenant_id <> '{own}' or tenant_id is null"));
                } else if verb != "insert" {
                    tries.push(write.clone());
                }
                for sql in tries {
                    let reached = reach(client, acting, &sql).await?;
                    let is_kept_out = if verb == "insert" { Reached::Refused } else { Reached::Rows(0) };
                    if reached != is_kept_out {
                        attempts.leaks.push(format!("{}: {verb} {acting:?}: {reached:?}", table.name));
                    }
                }
            }
        }
    }
    Ok(attempts)
}

/// Gives both tenants a row in every table.
pub(crate) async fn fill(owner: &Client, tenants: [Uuid; 2]) -> Result<usize> {
    let tables = tenant_tables(owner).await?;
    for tenant in tenants {
        for table in &tables {
            let sql = table.insert(owner, tenant).await.with_context(|| table.name.clone())?;
            owner.execute(&sql, &[]).await.with_context(|| sql.clone())?;
        }
    }
    Ok(tables.len())
}
