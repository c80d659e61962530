//! Data files by their names: `<dataset>_<tenant id>[_chunk_NNNN].<ndjson|csv>[.gz]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::Context;
use uuid::Uuid;

/// What a file holds. The order is that of dependency: what comes later refers to what comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dataset {
    /// Customers.
    Customers,
    /// Products.
    Products,
    /// Orders, which name a customer.
    Orders,
    /// Items of orders, which name an order and a product.
    OrderItems,
    /// Prices of products.
    PriceHistory,
    /// Movements of products.
    StockEvents,
}

impl Dataset {
    /// All, in the order of dependency.
    pub const ALL: [Self; 6] =
        [Self::Customers, Self::Products, Self::Orders, Self::OrderItems, Self::PriceHistory, Self::StockEvents];

    /// The name in files and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Customers => "customers",
            Self::Products => "products",
            Self::Orders => "orders",
            Self::OrderItems => "order_items",
            Self::PriceHistory => "price_history",
            Self::StockEvents => "stock_events",
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A data file on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataFile {
    /// What it holds.
    pub dataset: Dataset,
    /// Its name, without the folder.
    pub name: String,
    /// Whose it is.
    pub tenant: Uuid,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// What a folder holds.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Data files, in the order of dependency, then by name.
    pub files: Vec<DataFile>,
    /// Names that are no data file's, sorted; `tenants.csv` and hidden files are not among them.
    pub ignored: Vec<String>,
}

impl Folder {
    /// The files of each tenant, in the order of dependency, then by name.
    pub fn by_tenant(self) -> BTreeMap<Uuid, Vec<DataFile>> {
        self.files.into_iter().fold(BTreeMap::new(), |mut tenants: BTreeMap<_, Vec<_>>, file| {
            tenants.entry(file.tenant).or_default().push(file);
            tenants
        })
    }
}

/// Looks for data files in `dir`, not below it.
pub fn find(dir: &Path) -> anyhow::Result<Folder> {
    let context = || format!("cannot read the folder {}", dir.display());
    let mut folder = Folder::default();
    for entry in fs::read_dir(dir).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Through the path, so that a link counts as what it points to.
        let metadata = fs::metadata(entry.path()).with_context(context)?;
        match parse(&name) {
            Some((dataset, tenant)) if metadata.is_file() => {
                folder.files.push(DataFile { dataset, name, tenant, path: entry.path(), size_bytes: metadata.len() });
            }
            _ if name == "tenants.csv" || name.starts_with('.') => (),
            _ => folder.ignored.push(name),
        }
    }
    folder.files.sort();
    folder.ignored.sort();
    Ok(folder)
}

/// Dataset and tenant that a file's name tells; `None` when it is no data file's.
pub fn parse(name: &str) -> Option<(Dataset, Uuid)> {
    let plain = name.strip_suffix(".gz").unwrap_or(name);
    let stem = plain.strip_suffix(".ndjson").or_else(|| plain.strip_suffix(".csv"))?;
    let stem = match stem.split_once("_chunk_") {
        Some((stem, number)) if !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) => stem,
        Some(_) => return None,
        None => stem,
    };
    Dataset::ALL.into_iter().find_map(|dataset| {
        let tenant = stem.strip_prefix(dataset.name())?.strip_prefix('_')?;
        Some((dataset, Uuid::try_parse(tenant).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: Uuid = Uuid::from_u128(0x11111111_2222_4333_8444_555555555555);

    #[test]
    fn names_tell_dataset_and_tenant() {
        let id = TENANT;
        for (name, dataset) in [
            (format!("customers_{id}.ndjson"), Dataset::Customers),
            (format!("orders_{id}_chunk_0012.csv.gz"), Dataset::Orders),
            (format!("order_items_{id}_chunk_0000.ndjson.gz"), Dataset::OrderItems),
            (format!("price_history_{id}.csv"), Dataset::PriceHistory),
        ] {
            assert_eq!(parse(&name), Some((dataset, TENANT)), "{name}");
        }
    }

    #[test]
    fn other_names_are_no_data_files() {
        let id = TENANT;
        for name in [
            "tenants.csv".to_owned(),
            format!("orders_{id}.json"),
            format!("orders_{id}_chunk_.ndjson"),
            format!("orders_{id}_chunk_1a.ndjson"),
            format!("refunds_{id}.ndjson"),
            "orders_42.ndjson".to_owned(),
            format!("orders{id}.ndjson"),
        ] {
            assert_eq!(parse(&name), None, "{name}");
        }
    }

    #[test]
    fn parents_come_before_what_names_them() {
        let mut sorted = Dataset::ALL;
        sorted.sort();
        assert_eq!(
            sorted.map(Dataset::name),
            ["customers", "products", "orders", "order_items", "price_history", "stock_events"]
        );
    }
}
