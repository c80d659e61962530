//! Data files by their names: `<dataset>_<tenant id>[_chunk_NNNN].<ndjson|jsonl|csv>[.gz|.zst]`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use intake_domain::format::{Compression, Format};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How data files are named, for people.
pub const NAMING: &str = "<dataset>_<tenant id>[_chunk_NNNN].<ndjson|jsonl|csv>[.gz|.zst]";

/// Bytes that are read at once to make a digest.
const HASH_BYTES: usize = 1 << 20;

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

/// A file on disk, as it was when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LocalFile {
    /// Its name, without the folder.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub modified_ns: i64,
}

impl LocalFile {
    /// Looks at a file; `None` when it is none, as a folder is.
    pub fn look(name: String, path: PathBuf) -> io::Result<Option<Self>> {
        // Through the path, so that a link counts as what it points to.
        let metadata = fs::metadata(&path)?;
        let modified_ns = metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
        Ok(metadata.is_file().then_some(Self { name, path, size_bytes: metadata.len(), modified_ns }))
    }

    /// Refuses a file that is no longer what it was when it was looked at.
    pub fn ensure_unchanged(&self) -> anyhow::Result<()> {
        let Self { name, path, size_bytes, modified_ns } = self;
        let now = Self::look(name.clone(), path.clone()).with_context(|| format!("cannot read {}", path.display()))?;
        match now {
            Some(now) if now.size_bytes != *size_bytes => bail!(
                "{} has changed since it was declared: it had {size_bytes} bytes and has {}",
                path.display(),
                now.size_bytes
            ),
            Some(now) if now.modified_ns == *modified_ns => Ok(()),
            _ => bail!("{} has been written to since it was declared", path.display()),
        }
    }

    /// The SHA-256 of the bytes, in hexadecimal. Reads the whole file, a little at a time.
    pub fn sha256(&self) -> anyhow::Result<String> {
        let context = || format!("cannot read {}", self.path.display());
        let mut file = File::open(&self.path).with_context(context)?;
        let (mut digest, mut buffer) = (Sha256::new(), vec![0; HASH_BYTES]);
        loop {
            match file.read(&mut buffer).with_context(context)? {
                0 => return Ok(hex::encode(digest.finalize())),
                read => digest.update(&buffer[..read]),
            }
        }
    }
}

/// A data file on disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DataFile {
    /// What it holds.
    pub dataset: Dataset,
    /// The file itself.
    pub file: LocalFile,
    /// Whose it is.
    pub tenant: Uuid,
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
    // What is noted of an upload must be found again from another folder.
    let dir = std::path::absolute(dir).with_context(context)?;
    let mut folder = Folder::default();
    for entry in fs::read_dir(&dir).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = LocalFile::look(name.clone(), entry.path()).with_context(context)?;
        match (parse(&name), file) {
            (Some((dataset, tenant)), Some(file)) => folder.files.push(DataFile { dataset, file, tenant }),
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
    let endings = if Format::of_name(name)?.compression == Compression::None { 1 } else { 2 };
    let (stem, ending) = name.split_once('.')?;
    if ending.split('.').count() != endings {
        return None;
    }
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
            (format!("stock_events_{id}_chunk_0000.csv.zst"), Dataset::StockEvents),
            (format!("products_{id}.jsonl.zst"), Dataset::Products),
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
            format!("orders_{id}.v2.ndjson"),
            format!("orders_{id}.ndjson.bz2"),
            format!("orders_{id}.gz"),
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
    #[test]
    fn a_file_that_changes_is_noticed() {
        let path = std::env::temp_dir().join(format!("intake-file-{}", Uuid::new_v4()));
        fs::write(&path, "abc").unwrap();
        let file = LocalFile::look("a".to_owned(), path.clone()).unwrap().unwrap();
        file.ensure_unchanged().unwrap();
        assert_eq!(file.sha256().unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

        fs::write(&path, "abcd").unwrap();
        assert!(file.ensure_unchanged().unwrap_err().to_string().contains("it had 3 bytes and has 4"));
        fs::write(&path, "abd").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert!(file.ensure_unchanged().unwrap_err().to_string().contains("has been written to"));
        fs::remove_file(&path).unwrap();
        assert!(file.ensure_unchanged().unwrap_err().to_string().starts_with("cannot read"));
    }
}
