//! The state folder: what is kept where, and the lock that makes one supervisor its owner.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The state folder, by its absolute path.
#[derive(Clone, Debug)]
pub(crate) struct State {
    root: PathBuf,
}

/// Ports of the last start, taken again where they are free so that nothing needs a new deployment.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) postgres: u16,
    pub(crate) emulator: u16,
}

impl State {
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let make = || -> std::io::Result<PathBuf> {
            // PostgreSQL may run as another user and has to pass; what the emulator keeps holds passwords.
            for (folder, mode) in [
                ("", 0o711),
                ("logs", 0o700),
                ("tmp", 0o700),
                ("emulator", 0o700),
                ("objects", 0o700),
                ("fail-points", 0o700),
            ] {
                std::fs::create_dir_all(dir.join(folder))?;
                std::fs::set_permissions(dir.join(folder), std::fs::Permissions::from_mode(mode))?;
            }
            dir.canonicalize()
        };
        Ok(Self { root: make().with_context(|| format!("make the state folder {}", dir.display()))? })
    }

    /// The state folder, if there is one.
    pub(crate) fn open(dir: &Path) -> Option<Self> {
        dir.canonicalize().ok().map(|root| Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    /// The log of a part, begun anew.
    pub(crate) fn new_log(&self, name: &str) -> Result<File> {
        File::create(self.log(name)).with_context(|| format!("open the log {}", self.log(name).display()))
    }

    /// Continues the log of a part, beside others that write to it.
    pub(crate) fn append_to_log(&self, name: &str) -> Result<File> {
        let log = OpenOptions::new().create(true).append(true).open(self.log(name));
        log.with_context(|| format!("open the log {}", self.log(name).display()))
    }

    /// Where a file lets a function fail at a point: `fail_point!` of the functions' edge.
    pub(crate) fn fail_points(&self) -> PathBuf {
        self.root.join("fail-points")
    }

    pub(crate) fn endpoints(&self) -> PathBuf {
        self.root.join("endpoints.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Makes this process the supervisor; None when another one is. The lock ends with the file, however the process
    /// ends.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.lock_path())?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0)?;
                write!(file, "{}", std::process::id())?;
                Ok(Some(file))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("lock the state folder"),
        }
    }

    /// Whether a supervisor holds the lock. Looks with a shared lock, so that two who look do not see each other.
    pub(crate) fn is_locked(&self) -> bool {
        File::open(self.lock_path()).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The process that wrote itself into the lock file.
    pub(crate) fn supervisor(&self) -> Option<u32> {
        let mut text = String::new();
        File::open(self.lock_path()).ok()?.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }

    /// The ports for this start.
    pub(crate) fn ports(&self) -> Result<Ports> {
        let path = self.join("ports.json");
        let last: Ports =
            std::fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        // Both are held while they are chosen, or the second could be given the first one's port.
        let bind = |port| {
            std::net::TcpListener::bind(("127.0.0.1", port)).or_else(|_| std::net::TcpListener::bind(("127.0.0.1", 0)))
        };
        let (postgres, emulator) = (bind(last.postgres)?, bind(last.emulator)?);
        let ports = Ports { postgres: postgres.local_addr()?.port(), emulator: emulator.local_addr()?.port() };
        std::fs::write(&path, serde_json::to_vec(&ports)?)?;
        Ok(ports)
    }
}

/// Writes a file that its owner alone may read, whole or not at all.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut new = path.as_os_str().to_owned();
        new.push(".part");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        std::fs::rename(&new, path)
    };
    write().with_context(|| format!("write {}", path.display()))
}
