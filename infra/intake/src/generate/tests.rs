use std::collections::HashSet;
use std::env;
use std::path::Path;

use serde_json::Value as Json;
use uuid::Uuid;

use super::*;

/// A folder that goes with its owner.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(env::temp_dir().join(format!("intake-generate-{}", Uuid::new_v4())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tiny(output_dir: &Path) -> Plan {
    Plan {
        tenants: 2,
        customers: 50,
        products: 20,
        orders: 100,
        history: true,
        chunk_size: 40,
        ..Plan::new(Preset::Small, output_dir.to_owned())
    }
}

fn bytes(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// The rows of a dataset, of all tenants.
fn rows(dir: &Path, dataset: &str) -> Vec<Json> {
    let of_dataset = |name: &str| data_files::parse(name).is_some_and(|(found, _)| found.name() == dataset);
    let files = bytes(dir).into_iter().filter(|(name, _)| of_dataset(name));
    files
        .flat_map(|(_, text)| {
            Vec::from_iter(serde_json::Deserializer::from_slice(&text).into_iter().map(Result::unwrap))
        })
        .collect()
}

fn cents(value: &Json) -> u64 {
    (value.as_f64().unwrap() * 100.0).round() as u64
}

#[test]
fn same_seed_same_bytes() {
    for (format, compress) in
        [(Format::Ndjson, false), (Format::Ndjson, true), (Format::Csv, false), (Format::Csv, true)]
    {
        let (one, two, other) = (Scratch::new(), Scratch::new(), Scratch::new());
        for (dir, seed) in [(&one, 7), (&two, 7), (&other, 8)] {
            Plan { format, compress, seed, ..tiny(&dir.0) }.run(&|| ()).unwrap();
        }
        assert_eq!(bytes(&one.0), bytes(&two.0));
        assert_ne!(bytes(&one.0), bytes(&other.0));
    }
}

#[test]
fn small_preset_has_its_counts() {
    let dir = Scratch::new();
    let summary = Plan::new(Preset::Small, dir.0.clone()).run(&|| ()).unwrap();
    let counts = ["tenants", "customers", "products", "orders"].map(|dataset| summary.rows[dataset]);
    assert_eq!(counts, [2, 200, 2_000, 10_000]);
    assert!((20_000..40_000).contains(&summary.rows["order_items"]));
    assert_eq!(rows(&dir.0, "order_items").len() as u64, summary.rows["order_items"]);
}

#[test]
fn presets_are_the_predecessors() {
    let counts = |preset| {
        let Plan { tenants, products, orders, customers, .. } = Plan::new(preset, PathBuf::new());
        (tenants, products, orders, customers)
    };
    assert_eq!(counts(Preset::Small), (2, 1_000, 5_000, 100));
    assert_eq!(counts(Preset::Medium), (5, 50_000, 100_000, 1_000));
    assert_eq!(counts(Preset::Large), (10, 500_000, 2_000_000, 10_000));
}

#[test]
fn items_refer_to_orders_and_add_up_to_their_totals() {
    let dir = Scratch::new();
    tiny(&dir.0).run(&|| ()).unwrap();
    let products: HashSet<_> = rows(&dir.0, "products").iter().map(|row| row["product_id"].to_string()).collect();
    let customers: HashSet<_> = rows(&dir.0, "customers").iter().map(|row| row["customer_id"].to_string()).collect();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    for item in rows(&dir.0, "order_items") {
        assert!(products.contains(&item["product_id"].to_string()));
        assert_eq!(cents(&item["line_total"]), item["quantity"].as_u64().unwrap() * cents(&item["unit_price"]));
        *totals.entry(item["order_id"].to_string()).or_default() += cents(&item["line_total"]);
    }
    let orders = rows(&dir.0, "orders");
    assert_eq!(orders.len(), totals.len());
    for order in orders {
        assert!(customers.contains(&order["customer_id"].to_string()));
        assert_eq!(totals[&order["order_id"].to_string()], cents(&order["total_amount"]));
    }
}

#[test]
fn chunks_hold_their_size_and_leave_nothing_out() {
    let dir = Scratch::new();
    tiny(&dir.0).run(&|| ()).unwrap();
    let files = bytes(&dir.0);
    let lines_of = |text: &[u8]| text.split(|byte| *byte == b'\n').count() - 1;
    let orders = files.iter().filter(|(name, _)| name.starts_with("orders_"));
    let mut lines: Vec<_> = orders.map(|(name, text)| (&name[name.len() - 11..], lines_of(text))).collect();
    lines.sort();
    let (first, second, last) = (("0000.ndjson", 40), ("0001.ndjson", 40), ("0002.ndjson", 20));
    assert_eq!(lines, [first, first, second, second, last, last]);
}

#[test]
fn emails_collide_only_when_asked() {
    for (colliding_emails, collides) in [(0, false), (30, true)] {
        let dir = Scratch::new();
        Plan { tenants: 1, customers: 500, orders: 0, colliding_emails, ..tiny(&dir.0) }.run(&|| ()).unwrap();
        let customers = rows(&dir.0, "customers");
        let emails: HashSet<_> = customers.iter().map(|row| row["email"].to_string()).collect();
        assert_eq!(emails.len() < 500, collides);
        assert!(emails.iter().all(|email| email.is_ascii()));
    }
}

#[test]
fn csv_and_ndjson_hold_the_same_cells() {
    let (ndjson, csv) = (Scratch::new(), Scratch::new());
    tiny(&ndjson.0).run(&|| ()).unwrap();
    Plan { format: Format::Csv, ..tiny(&csv.0) }.run(&|| ()).unwrap();
    for (name, text) in bytes(&csv.0).into_iter().filter(|(name, _)| name != "tenants.csv") {
        let json = fs::read_to_string(ndjson.0.join(name.replace(".csv", ".ndjson"))).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let header = reader.headers().unwrap().clone();
        for (record, line) in reader.records().map(Result::unwrap).zip(json.lines()) {
            let row: Json = serde_json::from_str(line).unwrap();
            for (column, cell) in header.iter().zip(&record) {
                match &row[column] {
                    Json::Null => assert_eq!(cell, ""),
                    Json::String(text) => assert_eq!(cell, text),
                    Json::Object(_) => assert_eq!(serde_json::from_str::<Json>(cell).unwrap(), row[column]),
                    other => assert_eq!(cell.trim_end_matches('0'), other.to_string().trim_end_matches('0')),
                }
            }
        }
    }
}

#[test]
fn replace_deletes_data_files_and_nothing_else() {
    let dir = Scratch::new();
    let first = tiny(&dir.0).run(&|| ()).unwrap();
    fs::write(dir.0.join("notes.txt"), "mine").unwrap();
    let summary = Plan { seed: 9, ..tiny(&dir.0) }.run(&|| ()).unwrap();
    assert_eq!(summary.others, first.files - 1, "all but tenants.csv");
    let summary = Plan { seed: 9, replace: true, ..tiny(&dir.0) }.run(&|| ()).unwrap();
    assert_eq!(summary.others, 0);
    assert!(dir.0.join("notes.txt").exists());
}
