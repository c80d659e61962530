//! The Python tools: a private environment with the pinned packages of `requirements.txt`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::Say;
use crate::state::State;

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// An environment that is complete.
pub(crate) struct Tools {
    root: PathBuf,
}

impl Tools {
    pub(crate) fn python(&self) -> PathBuf {
        self.root.join("bin/python")
    }

    /// Installs one more package. Nothing else of the environment changes.
    pub(crate) async fn add(&self, package: &str, say: Say<'_>) -> Result<()> {
        pip(&self.root, &[package], say).await
    }

    /// The folder that packages are installed in.
    pub(crate) fn packages(&self) -> Option<PathBuf> {
        let versions = std::fs::read_dir(self.root.join("lib")).ok()?;
        versions.flatten().map(|entry| entry.path().join("site-packages")).find(|path| path.is_dir())
    }
}

/// The environment in `folder`, or else in the state folder, installed unless it is complete.
pub(crate) async fn install(state: &State, folder: Option<&Path>, say: Say<'_>) -> Result<Tools> {
    let root = folder.map_or_else(|| state.join("tools"), Path::to_owned);
    if let Some(parent) = root.parent() {
        std::fs::create_dir_all(parent)?;
    }
    // Several state folders may share the tools: who comes second waits and finds them.
    let lock = File::create(root.with_extension("lock"))?;
    let _lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await??;

    let stamp = root.join("complete");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(Tools { root });
    }
    say(&format!("installing the emulator into {}", root.display()));
    check_python().await?;
    let made = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root).output().await?;
    if !made.status.success() {
        bail!("python3 cannot make an environment: {}", String::from_utf8_lossy(&made.stderr).trim());
    }
    pip(&root, &REQUIREMENTS.split_whitespace().collect::<Vec<_>>(), say).await?;
    std::fs::write(&stamp, REQUIREMENTS)?;
    Ok(Tools { root })
}

/// Python 3.10 or later with `venv` and `ensurepip`; its version.
pub(crate) async fn check_python() -> Result<String> {
    let probe =
        "import sys, venv, ensurepip; print('%d.%d.%d' % sys.version_info[:3]); sys.exit(sys.version_info < (3, 10))";
    let probed = Command::new("python3").args(["-c", probe]).output().await;
    let probed = probed.context("python3 is missing")?;
    let version = String::from_utf8_lossy(&probed.stdout).trim().to_owned();
    match probed.status.success() {
        true => Ok(version),
        false if version.is_empty() => bail!("python3 lacks its venv module; on Debian: apt-get install python3-venv"),
        false => bail!("python3 is {version}; 3.10 or later is needed"),
    }
}

async fn pip(root: &Path, packages: &[&str], say: Say<'_>) -> Result<()> {
    let mut child = Command::new(root.join("bin/python"))
        .args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--progress-bar", "off"])
        .args(packages)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("run pip")?;
    let mut lines = BufReader::new(child.stdout.take().context("pip's output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(package) = line.strip_prefix("Collecting ") {
            say(&format!("fetching {}", package.split(['=', '<', '>', '!', '~', ' ', '[']).next().unwrap_or(package)));
        }
    }
    let ended = child.wait_with_output().await?;
    if !ended.status.success() {
        bail!("pip could not install {}: {}", packages.join(" "), String::from_utf8_lossy(&ended.stderr).trim());
    }
    Ok(())
}
