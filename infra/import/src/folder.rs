//! The folder of an import: what was read, what was refused, how far it is, and the temporary keys.
//!
//! `import.json` is replaced as a whole, so that a process may die at any point. Everything in it is readable by its owner
//! alone: the files are what the shops have of their customers.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::predecessor::{Account, Figures, Names, Table};
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Wanted;
use intake::data_files::LocalFile;
use intake::policy::OnMissingReference;

/// What is known of an import once everything has been read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Import {
    /// The source, without a password.
    pub(super) from: String,
    /// The API, without a slash at its end.
    pub(super) api_url: String,
    pub(super) names: Names,
    pub(super) only: Vec<Uuid>,
    pub(super) on_missing_reference: Option<OnMissingReference>,
    /// The moment of which the rows are, if the source gave them of one.
    pub(super) read_at: String,
    /// How long reading took.
    pub(super) read_seconds: f64,
    /// What there is to be said of the source.
    pub(super) notes: Vec<String>,
    /// Rows of which nobody knows whose they are.
    pub(super) unowned: BTreeMap<Table, u64>,
    pub(super) tenants: Vec<Imported>,
    /// When all was there and agreed.
    pub(super) finished_at: Option<String>,
}

/// A tenant of an import.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Imported {
    pub(super) id: Uuid,
    pub(super) name: String,
    /// SHA-256 of its key in hexadecimal, if the source has it.
    pub(super) key_hash: Option<String>,
    /// Its files, in the order in which they are sent.
    pub(super) parts: Vec<Part>,
    /// What the source says that there is.
    pub(super) source: BTreeMap<Table, Figures>,
    /// What was read.
    pub(super) read: BTreeMap<Table, Figures>,
    /// What rows would be refused for, as far as that was looked at.
    #[serde(default)]
    pub(super) codes: BTreeMap<Table, (u64, BTreeMap<String, u64>)>,
    /// Whether its files have been taken in, and what was refused is known.
    pub(super) is_sent: bool,
    /// The upload tokens of its sessions.
    pub(super) sessions: Vec<String>,
    /// Both sides of each table.
    pub(super) accounts: BTreeMap<Table, Account>,
}

/// A file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) table: Table,
    pub(super) file: LocalFile,
    pub(super) rows: u64,
}

impl Import {
    /// Refuses to go on with an import of something else.
    pub(super) fn ensure_same(&self, wanted: &Wanted, dir: &Path) -> anyhow::Result<()> {
        let from = wanted.location.to_string();
        let differs = [
            ("another source", self.from != from),
            ("another API", self.api_url != wanted.api_url),
            ("other tables", self.names != wanted.names),
            ("other tenants", self.only != wanted.tenants),
            ("another --on-missing-reference", self.on_missing_reference != wanted.on_missing_reference),
        ];
        match differs.into_iter().find(|(_, differs)| *differs) {
            Some((what, _)) => bail!(
                "{} holds an import from {} with {what}: give --state another folder, or --fresh to begin anew",
                dir.display(),
                self.from
            ),
            None => Ok(()),
        }
    }
}

/// The folder, for this process alone.
pub(super) struct Folder {
    dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder, and makes it if it is not there.
    pub(super) fn hold(dir: &Path) -> anyhow::Result<Self> {
        let context = || format!("cannot use the folder {}", dir.display());
        make(dir).with_context(context)?;
        // what is noted of an upload must be found again from another folder
        let dir = dir.canonicalize().with_context(context)?;
        let lock = File::create(dir.join("import.lock")).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("another `cargo intake import` is at work in {}", dir.display()),
            Err(TryLockError::Error(error)) => Err(error).with_context(context),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the rows that were read lie.
    pub(super) fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// Where the rows that were refused lie, in files that can be sent once they are mended.
    pub(super) fn rejects(&self) -> PathBuf {
        self.dir.join("rejects")
    }

    /// What was noted; `None` where nothing was read to its end.
    pub(super) fn load(&self) -> anyhow::Result<Option<Import>> {
        let path = self.note();
        let context = || format!("cannot read {}; --fresh begins anew", path.display());
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => serde_json::from_slice(&bytes.with_context(context)?).map(Some).with_context(context),
        }
    }

    /// Notes how far it is.
    pub(super) fn save(&self, import: &Import) -> anyhow::Result<()> {
        let path = self.note();
        let context = || format!("cannot write {}", path.display());
        let draft = path.with_extension("json.new");
        let _ = fs::remove_file(&draft);
        let mut file = create(&draft).with_context(context)?;
        file.write_all(&serde_json::to_vec_pretty(import)?).with_context(context)?;
        file.sync_all().with_context(context)?;
        fs::rename(&draft, &path).with_context(context)
    }

    /// Removes what was read, refused and noted. Temporary keys stay known: they may be live.
    pub(super) fn clear(&self) -> anyhow::Result<()> {
        remove(&self.note())?;
        remove(&self.dir.join("uploads"))?;
        remove(&self.rejects())?;
        self.remove_files()
    }

    pub(super) fn remove_files(&self) -> anyhow::Result<()> {
        remove(&self.files())
    }

    fn note(&self) -> PathBuf {
        self.dir.join("import.json")
    }
}

/// An empty folder in the place of what may lie there.
pub(super) fn make_empty(dir: &Path) -> anyhow::Result<()> {
    remove(dir)?;
    make(dir).with_context(|| format!("cannot create {}", dir.display()))
}

/// A new file, for its owner alone.
pub(super) fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// The time, as ISO 8601 has it.
pub(super) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn make(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", path.display())),
    }
}

impl Part {
    /// Looks at a file that was written.
    pub(super) fn look(table: Table, path: &Path, rows: u64) -> anyhow::Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let file = LocalFile::look(name, path.to_owned()).with_context(|| format!("cannot read {}", path.display()))?;
        let file = file.with_context(|| format!("{} is no file", path.display()))?;
        ensure!(file.size_bytes > 0, "{} is empty", path.display());
        Ok(Self { table, file, rows })
    }
}
