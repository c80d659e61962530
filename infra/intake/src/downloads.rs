//! Notes of exports that are not on disk yet, so that an interrupted one goes on where it stopped.
//!
//! One file for each place that an export goes to, `<state dir>/exports/<digest>.json`, readable by its owner alone. It names
//! no key and no address that is signed.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What was ordered, and how far it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The API, without a slash at its end.
    pub api_url: String,
    /// Whose rows they are.
    pub tenant_id: Uuid,
    /// The body of the order.
    pub order: Box<RawValue>,
    /// Under which the order is sent, once or again.
    pub idempotency_key: String,
    /// What the server answered.
    pub export_id: Option<Uuid>,
    /// The version of the file of which a part has arrived.
    pub etag: Option<String>,
}

impl Record {
    /// One of an export that is not ordered yet.
    pub fn new(api_url: &str, tenant_id: Uuid, order: Box<RawValue>) -> Self {
        let idempotency_key = Uuid::new_v4().to_string();
        Self { api_url: api_url.to_owned(), tenant_id, order, idempotency_key, export_id: None, etag: None }
    }

    /// Whether it is of the same order.
    pub fn is_of(&self, api_url: &str, tenant_id: Uuid, order: &RawValue) -> bool {
        (self.api_url.as_str(), self.tenant_id, self.order.get()) == (api_url, tenant_id, order.get())
    }
}

/// The note of one place, which no other process works on while this lives.
#[derive(Debug)]
pub struct Note {
    path: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Note {
    /// That of the file `out`.
    pub fn hold(state_dir: &Path, out: &Path) -> anyhow::Result<Self> {
        let dir = state_dir.join("exports");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let out = std::path::absolute(out).with_context(|| format!("no path: {}", out.display()))?;
        let name = hex::encode(&Sha256::digest(out.as_os_str().as_bytes())[..16]);
        let path = dir.join(format!("{name}.json"));
        let lock = path.with_extension("lock");
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(&lock);
        let lock = lock.with_context(|| format!("cannot lock the note {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("another `cargo intake` writes {}", out.display()),
            Err(TryLockError::Error(error)) => Err(error).context("cannot lock a note"),
        }
    }

    /// What is noted.
    pub fn read(&self) -> anyhow::Result<Option<Record>> {
        let context = || format!("cannot read the note {}", self.path.display());
        match fs::read(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => Ok(Some(serde_json::from_slice(&bytes.with_context(context)?).with_context(context)?)),
        }
    }

    /// Notes something else, or the same.
    pub fn write(&self, record: &Record) -> anyhow::Result<()> {
        let context = || format!("cannot write the note {}", self.path.display());
        let draft = self.path.with_extension("json.new");
        let _ = fs::remove_file(&draft);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).with_context(context)?;
        serde_json::to_writer(&mut file, record).with_context(context)?;
        file.sync_all().with_context(context)?;
        fs::rename(&draft, &self.path).with_context(context)
    }

    /// Forgets what is noted.
    pub fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("cannot remove a note"),
            _ => Ok(()),
        }
    }
}
