//! `tenants.csv`: which tenants there are, and the hashes of their keys.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use csv::StringRecord;
use intake_domain::api_key;
use uuid::Uuid;

/// A tenant as the file names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// Its name, 1 to 255 characters.
    pub name: String,
    /// SHA-256 of its key.
    pub key_hash: [u8; 32],
}

impl Tenant {
    /// The predecessor's key of this tenant, if it is what the file holds the hash of.
    pub fn derived_key(&self) -> Option<String> {
        let key = legacy_key(self.id);
        (api_key::hash(&key) == self.key_hash).then_some(key)
    }
}

/// The key that the predecessor gives a tenant.
pub fn legacy_key(tenant: Uuid) -> String {
    format!("api_key_{tenant}")
}

/// Reads the whole file, or says in which line and field it is wrong.
pub fn read(path: &Path) -> anyhow::Result<Vec<Tenant>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    parse(file).with_context(|| format!("cannot read {}", path.display()))
}

/// Where the columns are that are read; others, such as `created_at`, are not looked at.
struct Columns {
    tenant_id: usize,
    name: usize,
    api_key_hash: usize,
}

impl Columns {
    fn find(header: &StringRecord) -> anyhow::Result<Self> {
        let find = |name: &str| {
            // A byte order mark belongs to no name.
            let place = header.iter().position(|cell| cell.trim_start_matches('\u{feff}').trim() == name);
            place.ok_or_else(|| anyhow!("line 1: the column {name} is missing"))
        };
        Ok(Self { tenant_id: find("tenant_id")?, name: find("name")?, api_key_hash: find("api_key_hash")? })
    }

    fn tenant(&self, record: &StringRecord) -> anyhow::Result<Tenant> {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: usize| record.get(place).unwrap_or_default().trim();
        let wrong = |field: &str, expected: &str, found: &str| {
            anyhow!("line {line}, field {field}: expected {expected}, found {found:?}")
        };

        let text = cell(self.tenant_id);
        let id = Uuid::try_parse(text).map_err(|_| wrong("tenant_id", "a UUID", text))?;
        let name = cell(self.name);
        if !(1..=255).contains(&name.chars().count()) {
            return Err(wrong("name", "1 to 255 characters", name));
        }
        let text = cell(self.api_key_hash);
        let mut key_hash = [0; 32];
        // the predecessor writes lower case; what does not may be no hash of its
        let is_read = hex::decode_to_slice(text, &mut key_hash).is_ok() && !text.contains(char::is_uppercase);
        if !is_read {
            // it may be a key by mistake, and so is not shown
            let length = text.chars().count();
            bail!(
                "line {line}, field api_key_hash: expected 64 hexadecimal digits in lower case, found {length} characters"
            );
        }
        Ok(Tenant { id, name: name.to_owned(), key_hash })
    }
}

fn parse(input: impl Read) -> anyhow::Result<Vec<Tenant>> {
    let mut reader = csv::Reader::from_reader(input);
    let columns = Columns::find(reader.headers()?)?;
    let tenants: Vec<_> = reader.records().map(|record| columns.tenant(&record?)).collect::<anyhow::Result<_>>()?;
    if tenants.is_empty() {
        bail!("it names no tenant");
    }
    Ok(tenants)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "tenant_id,name,api_key_hash,created_at";
    const ID: Uuid = Uuid::from_u128(7);

    fn error(line: &str) -> String {
        format!("{:#}", parse(format!("{HEADER}\n{line}\n").as_bytes()).unwrap_err())
    }

    #[test]
    fn a_derived_key_is_known_by_its_hash() {
        let hash = hex::encode(api_key::hash(&legacy_key(ID)));
        let text = format!("\u{feff}{HEADER}\r\n{ID},\"Oak, Elm & Co.\",{hash},2024-01-01\r\n");
        let tenants = parse(text.as_bytes()).unwrap();
        assert_eq!(tenants[0].name, "Oak, Elm & Co.");
        assert_eq!(tenants[0].derived_key(), Some(legacy_key(ID)));
        let other = Tenant { key_hash: [1; 32], ..tenants[0].clone() };
        assert_eq!(other.derived_key(), None);
    }

    #[test]
    fn errors_name_line_and_field() {
        let hash = "0".repeat(64);
        assert_eq!(error(&format!("42,a,{hash},")), "line 2, field tenant_id: expected a UUID, found \"42\"");
        assert_eq!(error(&format!("{ID},,{hash},")), "line 2, field name: expected 1 to 255 characters, found \"\"");
        for text in ["xyz", "", &hash[1..], &format!("{hash}0"), &hash.replace('0', "A"), &hash.replace('0', "é")] {
            let expected = "line 2, field api_key_hash: expected 64 hexadecimal digits in lower case";
            assert_eq!(
                error(&format!("{ID},a,{text},")),
                format!("{expected}, found {} characters", text.chars().count())
            );
        }
        assert!(error(&format!("{ID},a")).contains("line: 2"));
        assert_eq!(format!("{:#}", parse("name\n".as_bytes()).unwrap_err()), "line 1: the column tenant_id is missing");
        assert_eq!(format!("{:#}", parse(format!("{HEADER}\n").as_bytes()).unwrap_err()), "it names no tenant");
    }
}
