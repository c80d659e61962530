//! What a file's name says: `<dataset>_<tenant_id>[_chunk_0000].<layout>[.<compression>]`.

use crate::dataset::{self, Dataset};
use crate::format::Format;

/// Why a file cannot be taken by its name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The dataset is neither given nor in the name.
    #[error("the name does not begin with the name of a dataset, and no dataset is given")]
    NoDataset,
    /// The dataset that was given does not exist.
    #[error("there is no dataset `{0}`")]
    UnknownDataset(String),
    /// The ending is none that can be read.
    #[error("only .ndjson, .jsonl and .csv files are read, each also as .gz or .zst")]
    UnsupportedFormat,
}

/// The dataset of a file, from its name unless it is given, and its format, from its name.
///
/// # Errors
/// See [`NameError`].
pub fn classify(name: &str, dataset: Option<&str>) -> Result<(&'static Dataset, Format), NameError> {
    let dataset = match dataset {
        Some(given) => dataset::by_name(given).ok_or_else(|| NameError::UnknownDataset(given.to_owned()))?,
        // `order_items` and `orders` share their beginning only up to the underscore that must follow
        None => dataset::ALL
            .iter()
            .find(|known| {
                name.strip_prefix(known.name).is_some_and(|rest| rest.starts_with('_') || rest.starts_with('.'))
            })
            .ok_or(NameError::NoDataset)?,
    };
    Format::of_name(name).map(|format| (dataset, format)).ok_or(NameError::UnsupportedFormat)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(name: &str, dataset: Option<&str>) -> Result<&'static str, NameError> {
        classify(name, dataset).map(|(dataset, _)| dataset.name)
    }

    #[test]
    fn the_dataset_is_the_part_before_the_tenant() {
        let tenant = "00000000-0000-0000-0000-000000000001";
        assert_eq!(name_of(&format!("orders_{tenant}_chunk_0000.ndjson"), None), Ok("orders"));
        assert_eq!(name_of(&format!("order_items_{tenant}_chunk_0000.ndjson"), None), Ok("order_items"));
        assert_eq!(name_of("customers.NDJSON", None), Ok("customers"));
        assert_eq!(name_of("export.jsonl", Some("products")), Ok("products"));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(name_of("export.ndjson", None), Err(NameError::NoDataset));
        assert_eq!(name_of("ordersx.ndjson", None), Err(NameError::NoDataset));
        assert_eq!(name_of("a.ndjson", Some("bananas")), Err(NameError::UnknownDataset("bananas".to_owned())));
        assert_eq!(name_of("orders.xlsx", None), Err(NameError::UnsupportedFormat));
    }
}
