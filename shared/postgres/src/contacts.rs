//! What orders have of their customers, once for each name and e-mail address, and the tokens by which a part of it is found.
//! Every function runs inside the scope of a transaction; none commits. All fail with any [`Error`] of the database.

use crate::Error;
use crate::copy;
use crate::database::Scope;
use crate::staged::StagedRow;
use bytes::Bytes;
use intake_domain::text_search::{Contact, Needle};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("contacts/", $name), include_str!(concat!("../queries/contacts/", $name, ".sql")))
    };
}

/// Where they are.
pub(crate) const TABLE: &str = "order_contacts";
const COLUMNS: &str = "tenant_id, contact, tokens";

/// The statement that removes those of some contacts of a tenant that no order has, by its name and its text. Nobody may promote
/// orders of the tenant meanwhile.
pub(crate) const REMOVE_UNUSED: (&str, &str) = sql!("remove_unused");

/// Where the name and the address stand in the row of an order; the tenant stands before the fields.
const NAME: usize = 4;
const EMAIL: usize = 5;

/// The contact of a row of orders.
pub(crate) fn of_order(row: &StagedRow) -> Contact<'_> {
    let text = |column| row.column(column).and_then(|bytes| str::from_utf8(bytes).ok());
    Contact { name: text(NAME), email: text(EMAIL) }
}

/// Records contacts under their numbers, and says how many of them were new; what is known is left alone. `leaf` is the tenant's partition. The tenant's
/// promotions of orders wait for each other, so nobody records the same meanwhile.
pub(crate) async fn record(
    scope: &mut Scope<'_>,
    leaf: &str,
    contacts: &BTreeMap<i64, Contact<'_>>,
) -> Result<usize, Error> {
    let tenant = scope.tenant();
    let numbers: Vec<_> = contacts.keys().copied().collect();
    let (name, sql) = sql!("known");
    let known = scope.query(name, sql, &[(&tenant, Type::UUID), (&numbers, Type::INT8_ARRAY)]).await?;
    let known: HashSet<i64> = known.iter().map(|row| row.get(0)).collect();
    let mut rows = contacts.iter().filter(|(number, _)| !known.contains(number)).map(|(number, contact)| {
        let tokens = contact.tokens(tenant);
        let mut row = Vec::with_capacity(80 + 12 * tokens.len());
        copy::begin_row(&mut row, 3);
        copy::uuid(&mut row, tenant);
        copy::bigint(&mut row, *number);
        copy::bigints(&mut row, &tokens);
        Bytes::from(row)
    });
    let Some(first) = rows.next() else { return Ok(0) };
    scope.copy(leaf, COLUMNS, [first].into_iter().chain(rows)).await?;
    Ok(contacts.len() - known.len())
}

/// Removes those of some contacts that no order has any more, so that nothing stays of what an order said before it was sent again.
/// The tenant's promotions of orders wait for each other, so nobody begins to have one meanwhile.
pub(crate) async fn remove_unused(scope: &Scope<'_>, contacts: &BTreeSet<i64>) -> Result<(), Error> {
    if contacts.is_empty() {
        return Ok(());
    }
    let (name, sql) = REMOVE_UNUSED;
    let contacts: Vec<_> = contacts.iter().copied().collect();
    scope.execute(name, sql, &[(&scope.tenant(), Type::UUID), (&contacts, Type::INT8_ARRAY)]).await.map(drop)
}

/// Records the contacts of at most so many orders that were promoted before there were any. Returns of how many; below
/// `most` none is left.
pub async fn record_missing(scope: &mut Scope<'_>, most: i64) -> Result<usize, Error> {
    let tenant = scope.tenant();
    crate::promotion::wait_for_turn(scope, "orders").await?;
    let (name, sql) = sql!("unrecorded");
    let orders = scope.query(name, sql, &[(&tenant, Type::UUID), (&most, Type::INT8)]).await?;
    if orders.is_empty() {
        return Ok(0);
    }
    let mut contacts = BTreeMap::new();
    let (mut ids, mut numbers) = (Vec::<Uuid>::new(), Vec::new());
    for order in &orders {
        let contact = Contact { name: order.get(1), email: order.get(2) };
        let number = contact.number(tenant);
        contacts.insert(number, contact);
        ids.push(order.get(0));
        numbers.push(number);
    }
    let leaf = format!("{TABLE}_p{}", crate::promotion::leaf_of_tenant(scope).await?);
    record(scope, &leaf, &contacts).await?;
    let (name, sql) = sql!("assign");
    let with = [(&tenant as _, Type::UUID), (&ids as _, Type::UUID_ARRAY), (&numbers as _, Type::INT8_ARRAY)];
    scope.execute(name, sql, &with).await?;
    Ok(orders.len())
}

/// The numbers of the contacts that may contain a text: all that do are among them. `None` where they are more than `most`,
/// where the text is too short to tell, or where orders are not recorded yet.
pub async fn find(scope: &Scope<'_>, needle: &Needle, most: i32) -> Result<Option<Vec<i64>>, Error> {
    let tokens = needle.tokens(scope.tenant());
    if tokens.is_empty() {
        return Ok(None);
    }
    let (name, sql) = sql!("has_unrecorded");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID)]).await?;
    if row.is_none_or(|row| row.get(0)) {
        return Ok(None);
    }
    let (name, sql) = sql!("find");
    let found = scope.query(name, sql, &[(&tokens, Type::INT8_ARRAY), (&(most + 1), Type::INT4)]).await?;
    let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    Ok((found.len() <= most as usize).then_some(found))
}
