//! API keys: the key file, and where a tenant's key comes from.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use uuid::Uuid;

/// `<state_dir>/keys.json`: tenant → key, readable by its owner alone.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    keys: BTreeMap<Uuid, String>,
}

impl KeyFile {
    /// Reads the file; one that does not exist holds no keys. Refuses one that others may read.
    pub fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let path = state_dir.join("keys.json");
        let context = || format!("cannot read the key file {}", path.display());
        let keys = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(context),
            Ok(metadata) => {
                let mode = metadata.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    let path = path.display();
                    bail!("the key file {path} has mode {mode:04o} and others can read it, run `chmod 600 {path}`");
                }
                serde_json::from_slice(&fs::read(&path).with_context(context)?).with_context(context)?
            }
        };
        Ok(Self { path, keys })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key of `tenant`; without a tenant, the only key there is.
    pub fn get(&self, tenant: Option<Uuid>) -> Option<&str> {
        let key = match tenant {
            Some(tenant) => self.keys.get(&tenant),
            None if self.keys.len() == 1 => self.keys.values().next(),
            None => None,
        };
        key.map(String::as_str)
    }

    /// The tenant, if there is a key of one alone.
    pub fn only_tenant(&self) -> Option<Uuid> {
        self.keys.keys().next().copied().filter(|_| self.keys.len() == 1)
    }

    /// All keys, in the order of their tenants.
    pub fn all(&self) -> Vec<&str> {
        self.keys.values().map(String::as_str).collect()
    }

    /// Notes a tenant's key, beside those that other processes noted meanwhile.
    pub fn remember(&mut self, tenant: Uuid, key: &str) -> anyhow::Result<()> {
        if self.keys.get(&tenant).is_some_and(|known| known == key) {
            return Ok(());
        }
        self.change(|keys| drop(keys.insert(tenant, key.to_owned())))
    }

    /// Forgets a tenant's key.
    pub fn forget(&mut self, tenant: Uuid) -> anyhow::Result<()> {
        if !self.keys.contains_key(&tenant) {
            return Ok(());
        }
        self.change(|keys| drop(keys.remove(&tenant)))
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<Uuid, String>)) -> anyhow::Result<()> {
        let state_dir = self.path.parent().unwrap_or(Path::new("."));
        let context = || format!("cannot write the key file {}", self.path.display());
        fs::create_dir_all(state_dir).with_context(context)?;
        let lock = File::create(state_dir.join("keys.lock")).with_context(context)?;
        lock.lock().with_context(context)?;

        self.keys = Self::open(state_dir)?.keys;
        change(&mut self.keys);
        let draft = self.path.with_extension("json.new");
        // A draft left behind could have any mode; a new file has this one.
        let _ = fs::remove_file(&draft);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).with_context(context)?;
        file.write_all(&serde_json::to_vec_pretty(&self.keys)?).with_context(context)?;
        file.sync_all().with_context(context)?;
        fs::rename(&draft, &self.path).with_context(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_their_owner_alone() {
        let dir = std::env::temp_dir().join(format!("intake-keys-{}", Uuid::new_v4()));
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut file = KeyFile::open(&dir).unwrap();
        let mut stale = file.clone();
        file.remember(one, "itk_1").unwrap();
        assert_eq!(file.get(None), Some("itk_1"));
        stale.remember(two, "itk_2").unwrap();

        let file = KeyFile::open(&dir).unwrap();
        assert_eq!(file.all(), ["itk_1", "itk_2"]);
        assert_eq!((file.get(Some(one)), file.get(Some(two)), file.get(None)), (Some("itk_1"), Some("itk_2"), None));
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(KeyFile::open(&dir).unwrap_err().to_string().contains("mode 0640"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
