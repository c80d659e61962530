//! What a source has of what is wanted: the names of tables and columns, settled before anything is read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::predecessor::table::Column;
use crate::predecessor::{Error, Table};

/// What an operator says of the tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// What tables are called that have another name than ours; `schema.table` names the schema, too.
    pub tables: BTreeMap<Table, String>,
    /// What is left out.
    pub without: BTreeSet<Table>,
}

impl Names {
    /// What a table is called.
    #[must_use]
    pub fn of(&self, table: Table) -> &str {
        self.tables.get(&table).map_or(table.name(), String::as_str)
    }
}

/// What is read.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) tables: BTreeMap<Table, TablePlan>,
    /// What there is to be said of it: columns that are not there, and are not needed.
    pub notes: Vec<String>,
}

/// What is read of a table.
#[derive(Clone, Debug)]
pub(crate) struct TablePlan {
    /// As the database calls it.
    pub(crate) name: String,
    /// The columns that there are, and what they are called.
    pub(crate) columns: Vec<(Column, String)>,
    /// Whose a row is.
    pub(crate) tenant: Owner,
}

/// Where it stands whose a row is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// In this column.
    Column(String),
    /// In a column of another table's row: `key` of ours is `id` there.
    Parent { name: String, key: String, id: String, column: String },
}

/// What the column is called that says whose a row is.
const TENANT: [&str; 2] = ["tenant_id", "tenant"];

impl Plan {
    /// The tables that are read, in the order of dependency.
    pub fn tables(&self) -> impl Iterator<Item = Table> {
        self.tables.keys().copied()
    }

    /// Settles what is read, given the columns of each table; `None` for one that is not there.
    pub(crate) fn new(
        location: &str,
        names: &Names,
        found: &BTreeMap<Table, Option<Vec<String>>>,
    ) -> Result<Self, Error> {
        let mut plan = Self { tables: BTreeMap::new(), notes: Vec::new() };
        for table in Table::ALL.into_iter().filter(|table| !names.without.contains(table)) {
            let name = names.of(table);
            let columns = found.get(&table).and_then(Option::as_ref).ok_or_else(|| Error::NoTable {
                location: location.to_owned(),
                table: table.name(),
                name: name.to_owned(),
            })?;
            let settled = plan.table(table, names, columns, found)?;
            plan.tables.insert(table, settled);
        }
        Ok(plan)
    }

    fn table(
        &mut self,
        table: Table,
        names: &Names,
        there: &[String],
        found: &BTreeMap<Table, Option<Vec<String>>>,
    ) -> Result<TablePlan, Error> {
        let name = names.of(table).to_owned();
        let no_column = |column: String| Error::NoColumn { name: name.clone(), column, found: there.join(", ") };
        let mut columns = Vec::new();
        for column in table.columns() {
            match column.names().find_map(|wanted| find(there, wanted)) {
                Some(known) => columns.push((column, known)),
                None if column.required => return Err(no_column(column.names().collect::<Vec<_>>().join(" or "))),
                None => self.notes.push(format!("the table {name} has no column {}: it is left out", column.field)),
            }
        }
        let own = TENANT.into_iter().find_map(|wanted| find(there, wanted));
        let parent = || {
            let (parent, key) = table.parent()?;
            let theirs = found.get(&parent)?.as_ref()?;
            let id = parent.columns().first().and_then(|id| id.names().find_map(|wanted| find(theirs, wanted)))?;
            let column = TENANT.into_iter().find_map(|wanted| find(theirs, wanted))?;
            Some(Owner::Parent { name: names.of(parent).to_owned(), key: find(there, key)?, id, column })
        };
        let tenant = match own {
            Some(column) => Owner::Column(column),
            None if table == Table::Tenants => Owner::Column(String::new()),
            None => parent().ok_or_else(|| no_column("tenant_id".to_owned()))?,
        };
        Ok(TablePlan { name, columns, tenant })
    }
}

impl TablePlan {
    /// What the column of this field is called, if there is one.
    pub(crate) fn column(&self, field: &str) -> Option<&str> {
        self.columns.iter().find(|(column, _)| column.field == field).map(|(_, name)| name.as_str())
    }
}

/// A column by its name, in the database's own spelling.
fn find(columns: &[String], wanted: &str) -> Option<String> {
    columns.iter().find(|name| name.eq_ignore_ascii_case(wanted)).cloned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The columns of a source that has all of them, but for what `change` does to them.
    pub(crate) fn plan(
        names: &Names,
        change: impl FnOnce(&mut BTreeMap<Table, Option<Vec<String>>>),
    ) -> Result<Plan, Error> {
        let mut found = BTreeMap::new();
        for table in Table::ALL {
            let mut columns: Vec<String> = table.columns().iter().map(|column| column.field.to_owned()).collect();
            if !columns.contains(&"tenant_id".to_owned()) {
                columns.push("tenant_id".to_owned());
            }
            found.insert(table, Some(columns));
        }
        change(&mut found);
        Plan::new("sqlite:old.db", names, &found)
    }

    fn without(found: &mut BTreeMap<Table, Option<Vec<String>>>, table: Table, column: &str) {
        if let Some(Some(columns)) = found.get_mut(&table) {
            columns.retain(|name| name != column);
        }
    }

    #[test]
    fn a_table_or_column_that_is_missing_is_named() {
        let missing = plan(&Names::default(), |found| drop(found.insert(Table::Orders, None)));
        assert_eq!(
            missing.unwrap_err().to_string(),
            "sqlite:old.db has no table orders for orders; `--table orders=NAME` names another, `--without orders` leaves it out"
        );
        let missing = plan(&Names::default(), |found| without(found, Table::Products, "sku"));
        let missing = missing.unwrap_err().to_string();
        assert!(
            missing.starts_with("the table products has no column sku; it has product_id, name, price"),
            "{missing}"
        );
    }

    #[test]
    fn what_a_row_can_do_without_is_left_out_with_a_note() {
        let plan = plan(&Names::default(), |found| without(found, Table::Orders, "raw_payload")).unwrap();
        assert_eq!(plan.notes, ["the table orders has no column raw_payload: it is left out"]);
        assert_eq!(plan.tables[&Table::Orders].column("raw_payload"), None);
    }

    #[test]
    fn names_may_be_others_and_tables_left_out() {
        let names = Names {
            tables: BTreeMap::from([(Table::Orders, "shop.ingest_order".to_owned())]),
            without: BTreeSet::from([Table::PriceHistory]),
        };
        let plan = plan(&names, |found| {
            found.insert(Table::PriceHistory, None);
            without(found, Table::Orders, "order_id");
            if let Some(Some(columns)) = found.get_mut(&Table::Orders) {
                columns.push("ID".to_owned());
            }
        });
        let plan = plan.unwrap();
        assert!(!plan.tables().any(|table| table == Table::PriceHistory));
        let orders = &plan.tables[&Table::Orders];
        assert_eq!((orders.name.as_str(), orders.column("order_id")), ("shop.ingest_order", Some("ID")));
    }

    #[test]
    fn whose_a_row_is_may_stand_in_its_parent() {
        let plan = plan(&Names::default(), |found| without(found, Table::OrderItems, "tenant_id")).unwrap();
        let text = str::to_owned;
        assert_eq!(
            plan.tables[&Table::OrderItems].tenant,
            Owner::Parent {
                name: text("orders"),
                key: text("order_id"),
                id: text("order_id"),
                column: text("tenant_id")
            }
        );
    }
}
