//! Notes of uploads that have not ended, so that an interrupted one goes on where it stopped.
//!
//! One file a session, `<state dir>/uploads/<token>.json`, readable by its owner alone. It names no key and no address
//! that is signed: what is missing, and where to put it, is asked of the server.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::data_files::LocalFile;
use crate::policy::Policy;

/// The folder of the notes.
#[derive(Clone, Debug)]
pub struct Uploads {
    dir: PathBuf,
}

/// What was opened, and with which files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What the session is known by.
    pub upload_token: String,
    /// Where it was opened, without a slash at its end.
    pub api_url: String,
    /// Whose it is.
    pub tenant_id: Uuid,
    /// How its rows are dealt with.
    pub policy: Policy,
    /// Whether each file's SHA-256 was declared.
    pub sha256: bool,
    /// Whether everything was uploaded and nobody waits for the end: such an upload was not interrupted.
    #[serde(default)]
    pub left: bool,
    /// Its files, as they were when they were declared.
    pub files: Vec<LocalFile>,
}

/// What a command would open, to be compared with what is noted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The API, without a slash at its end.
    pub api_url: &'a str,
    /// Whose files they are.
    pub tenant_id: Uuid,
    /// How their rows are to be dealt with.
    pub policy: &'a Policy,
    /// Whether each file's SHA-256 is declared.
    pub sha256: bool,
}

/// A record that no other process works on while this lives.
#[derive(Debug)]
pub struct Held {
    /// What is noted.
    pub record: Record,
    path: PathBuf,
    /// Held for its lock.
    _file: File,
}

impl Record {
    /// Whether it is of the same API, tenant and options, and of files at the same places, changed or not.
    pub fn is_of<'a>(&self, wanted: &Wanted<'_>, files: impl IntoIterator<Item = &'a LocalFile>) -> bool {
        let Wanted { api_url, tenant_id, policy, sha256 } = *wanted;
        (self.api_url.as_str(), self.tenant_id, &self.policy, self.sha256) == (api_url, tenant_id, policy, sha256)
            && self.files.iter().map(|file| &file.path).eq(files.into_iter().map(|file| &file.path))
    }
}

impl Uploads {
    /// The notes in this state folder.
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("uploads") }
    }

    /// Notes a session that was opened.
    pub fn open(&self, record: Record) -> anyhow::Result<Held> {
        let path = self.path(&record.upload_token).context("the server's upload token is not one")?;
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        Held::write(record, path)
    }

    /// All records, in no particular order.
    pub fn all(&self) -> anyhow::Result<Vec<Record>> {
        let context = || format!("cannot read the folder {}", self.dir.display());
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(context)?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.with_context(context)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.extend(read(&path)?);
            }
        }
        Ok(records)
    }

    /// The record of a session, if there is one.
    pub fn get(&self, token: &str) -> anyhow::Result<Option<Record>> {
        self.path(token).map_or(Ok(None), |path| read(&path))
    }

    /// Takes the record of a session for this process alone.
    pub fn hold(&self, token: &str) -> anyhow::Result<Option<Held>> {
        let Some(path) = self.path(token) else { return Ok(None) };
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| cannot_read(&path))?,
        };
        match file.try_lock() {
            Ok(()) => Ok(read(&path)?.map(|record| Held { record, path, _file: file })),
            Err(TryLockError::WouldBlock) => bail!("another `cargo intake` is at session {token}"),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| cannot_read(&path)),
        }
    }

    /// Removes the record of a session, if there is one.
    pub fn forget(&self, token: &str) -> anyhow::Result<()> {
        self.path(token).map_or(Ok(()), |path| remove(&path))
    }

    /// Where a token's record lies; `None` for what cannot be a token, and must not become another path.
    fn path(&self, token: &str) -> Option<PathBuf> {
        let plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain.then(|| self.dir.join(format!("{token}.json")))
    }
}

impl Held {
    /// Notes that everything is uploaded and that nobody waits for the end.
    pub fn leave(mut self) -> anyhow::Result<()> {
        self.record.left = true;
        Self::write(self.record, self.path).map(|_| ())
    }

    /// Removes the record: the session has ended.
    pub fn forget(self) -> anyhow::Result<()> {
        remove(&self.path)
    }

    /// Writes the whole record, or leaves what was there. The lock goes with the file, so it is taken before others see
    /// the file.
    fn write(record: Record, path: PathBuf) -> anyhow::Result<Self> {
        let context = || format!("cannot write the upload record {}", path.display());
        let draft = path.with_extension("json.new");
        // A draft left behind could have any mode; a new file has this one.
        let _ = fs::remove_file(&draft);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).with_context(context)?;
        file.lock().with_context(context)?;
        file.write_all(&serde_json::to_vec_pretty(&record)?).with_context(context)?;
        file.sync_all().with_context(context)?;
        fs::rename(&draft, &path).with_context(context)?;
        Ok(Self { record, path, _file: file })
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Record>> {
    let context = || format!("{}; without that file everything is sent anew", cannot_read(path));
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => serde_json::from_slice(&bytes.with_context(context)?).map(Some).with_context(context),
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove the upload record {}", path.display())),
    }
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the upload record {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const API: &str = "http://localhost:8000";

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("intake-uploads-{}", Uuid::new_v4()))
    }

    fn file(name: &str) -> LocalFile {
        LocalFile { name: name.to_owned(), path: PathBuf::from("/data").join(name), size_bytes: 7, modified_ns: -1 }
    }

    fn record() -> Record {
        Record {
            upload_token: Uuid::new_v4().to_string(),
            api_url: API.to_owned(),
            tenant_id: Uuid::from_u128(1),
            policy: Policy { dry_run: true, ..Policy::default() },
            sha256: false,
            left: false,
            files: vec![file("a.ndjson"), file("b.csv.gz")],
        }
    }

    #[test]
    fn a_record_is_its_owners_alone_and_reads_back() {
        let (dir, record) = (scratch(), record());
        let uploads = Uploads::new(&dir);
        assert_eq!(uploads.all().unwrap(), []);
        let held = uploads.open(record.clone()).unwrap();
        let path = dir.join("uploads").join(format!("{}.json", record.upload_token));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(uploads.all().unwrap(), std::slice::from_ref(&record));
        assert_eq!(uploads.get(&record.upload_token).unwrap().as_ref(), Some(&record));
        held.forget().unwrap();
        assert_eq!(uploads.get(&record.upload_token).unwrap(), None);
        assert!(uploads.hold(&record.upload_token).unwrap().is_none());
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn one_process_at_a_time_works_on_a_session() {
        let (dir, record) = (scratch(), record());
        let uploads = Uploads::new(&dir);
        let held = uploads.open(record.clone()).unwrap();
        assert!(uploads.hold(&record.upload_token).unwrap_err().to_string().contains("another `cargo intake`"));
        held.leave().unwrap();
        let held = uploads.hold(&record.upload_token).unwrap().unwrap();
        assert_eq!(held.record, Record { left: true, ..record });
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_same_command_finds_its_record() {
        let record = record();
        let wanted = Wanted { api_url: API, tenant_id: record.tenant_id, policy: &record.policy, sha256: false };
        assert!(record.is_of(&wanted, &[file("a.ndjson"), file("b.csv.gz")]));
        let changed = LocalFile { size_bytes: 8, ..file("a.ndjson") };
        assert!(record.is_of(&wanted, &[changed, file("b.csv.gz")]), "the same places");
        assert!(!record.is_of(&wanted, &[file("a.ndjson")]));
        assert!(!record.is_of(&Wanted { api_url: "http://localhost:8001", ..wanted }, &record.files));
        assert!(!record.is_of(&Wanted { tenant_id: Uuid::from_u128(2), ..wanted }, &record.files));
        assert!(!record.is_of(&Wanted { policy: &Policy::default(), ..wanted }, &record.files));
        assert!(!record.is_of(&Wanted { sha256: true, ..wanted }, &record.files));
    }

    #[test]
    fn what_is_no_token_is_no_path() {
        let uploads = Uploads::new(&scratch());
        for token in ["", "../keys", "a/b", "a.b", "%2e"] {
            assert_eq!(uploads.get(token).unwrap(), None, "{token}");
        }
    }

    #[test]
    fn a_damaged_record_is_named() {
        let dir = scratch();
        let uploads = Uploads::new(&dir);
        drop(uploads.open(record()).unwrap());
        let path = dir.join("uploads").join("torn.json");
        fs::write(&path, "{\"upload_token\":").unwrap();
        let error = format!("{:#}", uploads.all().unwrap_err());
        assert!(error.contains("torn.json; without that file everything is sent anew"), "{error}");
        fs::remove_dir_all(&dir).unwrap();
    }
}
