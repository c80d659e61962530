//! Files by chance: rows that meet each other by id and by natural key, some of them bad.

use super::{Dice, Entry, at, customer, id, item, order, product};
use intake_domain::Dataset;
use intake_domain::dataset::Missing;
use intake_domain::format::{Compression, Format, Layout};
use serde_json::{Value, json};

/// A file to upload.
#[derive(Clone)]
pub(crate) struct Goods {
    pub(crate) dataset: &'static Dataset,
    pub(crate) format: Format,
    pub(crate) entries: Vec<Entry>,
    pub(crate) max_rejects: Option<usize>,
    pub(crate) reject_missing_references: bool,
}

impl Goods {
    /// A file of so many entries, whose ids are among the first `pool`.
    pub(crate) fn by_chance(
        dataset: &'static Dataset,
        format: Format,
        entries: u64,
        pool: u64,
        dice: &mut Dice,
    ) -> Self {
        let entries = (0..entries).map(|_| entry(dataset, pool, dice)).collect();
        Self { dataset, format, entries, max_rejects: None, reject_missing_references: false }
    }
}

impl Goods {
    /// The same with so many rows more that are refused when they are promoted: their natural keys belong to another.
    pub(crate) fn with_twins(mut self, count: u64) -> Self {
        let row = |number: u64| match self.dataset.name {
            "customers" => at(customer(number), "email", "twin@shop.example"),
            "products" => at(product(number), "sku", "TWIN"),
            _ => at(order(number, "2026-01-31"), "external_order_id", "TWIN"),
        };
        self.entries.extend((0..=count).map(|number| Entry::Row(row(1_000 + number))));
        self
    }
}

/// Every format that files have.
pub(crate) fn formats() -> Vec<Format> {
    let compressions = [Compression::None, Compression::Gzip, Compression::Zstd];
    let layouts = [Layout::Ndjson, Layout::Csv].into_iter();
    layouts.flat_map(|layout| compressions.map(|compression| Format { layout, compression })).collect()
}

fn entry(dataset: &Dataset, pool: u64, dice: &mut Dice) -> Entry {
    match dice.within(0..100) {
        0 => Entry::Broken,
        1 => Entry::Blank,
        2..6 => Entry::Row(spoiled(row(dataset.name, pool, dice), dataset, dice)),
        _ => Entry::Row(row(dataset.name, pool, dice)),
    }
}

/// A row that is refused, whatever it was.
fn spoiled(mut row: Value, dataset: &Dataset, dice: &mut Dice) -> Value {
    let required: Vec<_> = dataset.fields.iter().filter(|field| field.missing == Missing::Refused).collect();
    let field = dice.one_of(&required).name;
    row[field] = if field.ends_with("_id") && field != "external_order_id" { json!("42") } else { Value::Null };
    row
}

fn row(dataset: &str, pool: u64, dice: &mut Dice) -> Value {
    let number = dice.within(0..pool);
    // most have the natural key of their number, some that of another, or one that nobody else has
    let key = match dice.within(0..10) {
        0 => dice.within(0..pool),
        1 => pool + number,
        _ => number,
    };
    let version = dice.within(0..3);
    let another = id(dice.within(0..pool));
    let days = ["2026-01-31", "2026-02-01", "2025-07-15", "1969-05-05"];
    let mut row = match dataset {
        "customers" => {
            let row = at(customer(number), "email", format!("c{key}@shop.example"));
            let space = if dice.chance(10) { '\n' } else { ' ' };
            let row = at(row, "name", format!("Customer \"{number}\",{space}version {version}"));
            if dice.chance(30) { at(row, "metadata", json!({"version": version, "tags": ["a,b", null]})) } else { row }
        }
        "products" => {
            let row = at(product(number), "sku", format!("SKU-{key}"));
            let row = at(row, "price", format!("{version}.5"));
            let row = if dice.chance(30) { at(row, "active", false) } else { row };
            if dice.chance(30) { at(row, "category_id", another.to_string()) } else { row }
        }
        "orders" => {
            let row = at(order(number, days[dice.within(0..4) as usize]), "external_order_id", format!("ORD-{key}"));
            let row = at(row, "order_status", *dice.one_of(&["pending", "shipped"]));
            let row = if dice.chance(50) { at(row, "customer_id", another.to_string()) } else { row };
            if dice.chance(30) { at(row, "raw_payload", json!({"source": "web", "campaign": null})) } else { row }
        }
        "order_items" => {
            let row = at(item(number), "quantity", 1 + version);
            at(at(row, "order_id", another.to_string()), "product_id", id(key).to_string())
        }
        "price_history" => json!({
            "id": id(number), "product_id": another, "price": 10 + version, "effective_from": "2026-01-01T00:00:00Z",
            "effective_to": if dice.chance(50) { json!("2026-06-01T00:00:00.25") } else { Value::Null },
        }),
        _ => {
            let is_set = dice.chance(15);
            json!({
                "stock_event_id": if dice.chance(80) { json!(id(number)) } else { Value::Null },
                "product_id": another, "source": dice.one_of(&["manual", "order"]),
                "delta": if is_set { Value::Null } else { json!(version as i64 - 1) },
                "set": if is_set { json!(version) } else { Value::Null },
                "event_time": format!("2026-03-01T10:0{}:00", dice.within(0..3)),
            })
        }
    };
    if dice.chance(10) {
        row["created_at"] = format!("2020-01-0{}T00:00:00", 1 + version).into();
    }
    row
}
