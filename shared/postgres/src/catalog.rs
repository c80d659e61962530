//! Products and customers as they are looked up. Every function runs inside the scope of a transaction; none commits. All fail
//! with any [`Error`] of the database.

use crate::Error;
use crate::database::Scope;
use crate::micros::Micros;
use crate::orders::Cents;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

macro_rules! sql {
    ($name:literal) => {
        (concat!("catalog/", $name), include_str!(concat!("../queries/catalog/", $name, ".sql")))
    };
}

/// A stored product.
#[derive(Debug)]
pub struct Product {
    /// Its id.
    pub id: Uuid,
    /// The number that its shop knows it by.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// What it costs, in hundredths.
    pub price: i64,
    /// To which category it belongs.
    pub category: Option<Uuid>,
    /// Whether it is sold.
    pub active: bool,
    /// Where its stock stands; 0 of a product that never moved.
    pub stock_level: i32,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

/// A stored customer.
#[derive(Debug)]
pub struct Customer {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub name: String,
    /// Its e-mail address.
    pub email: String,
    /// The text of an object of JSON.
    pub metadata: Option<String>,
    /// When it was created, in microseconds since 1970.
    pub created_at: i64,
}

/// Which products are meant; a condition that is not there asks for nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProductFilter<'a> {
    /// Whether it is sold.
    pub active: Option<bool>,
    /// To which category it belongs.
    pub category: Option<Uuid>,
    /// By which number its shop knows it.
    pub sku: Option<&'a str>,
}

/// The first `limit` products, in the order of their ids, of all or after one of them.
pub async fn products(
    scope: &Scope<'_>,
    filter: ProductFilter<'_>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Product>, Error> {
    let (name, sql) = sql!("products");
    let with = [
        (&scope.tenant() as _, Type::UUID),
        (&after as _, Type::UUID),
        (&filter.active as _, Type::BOOL),
        (&filter.category as _, Type::UUID),
        (&filter.sku as _, Type::TEXT),
        (&limit as _, Type::INT8),
    ];
    Ok(scope.query(name, sql, &with).await?.iter().map(read_product).collect())
}

/// The product of that id.
pub async fn product(scope: &Scope<'_>, id: Uuid) -> Result<Option<Product>, Error> {
    let (name, sql) = sql!("product");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&id, Type::UUID)]).await?;
    Ok(row.as_ref().map(read_product))
}

fn read_product(row: &Row) -> Product {
    Product {
        id: row.get("product_id"),
        sku: row.get("sku"),
        name: row.get("name"),
        price: row.get::<_, Cents>("price").0,
        category: row.get("category_id"),
        active: row.get("active"),
        stock_level: row.get("stock_level"),
        created_at: row.get::<_, Micros>("created_at").0,
    }
}

/// The customer of that id.
pub async fn customer(scope: &Scope<'_>, id: Uuid) -> Result<Option<Customer>, Error> {
    let (name, sql) = sql!("customer");
    let row = scope.query_opt(name, sql, &[(&scope.tenant(), Type::UUID), (&id, Type::UUID)]).await?;
    Ok(row.map(|row| Customer {
        id: row.get("customer_id"),
        name: row.get("name"),
        email: row.get("email"),
        metadata: row.get("metadata"),
        created_at: row.get::<_, Micros>("created_at").0,
    }))
}
