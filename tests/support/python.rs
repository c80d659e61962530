//! Private Python environments, each with the packages of a `requirements.txt`.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The Python of the environment `name` in cargo's target folder, installed unless it is there.
pub(crate) async fn python(name: &str, requirements: &str) -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
    let root = target.join(name);
    let (stamp, python) = (root.join("complete"), root.join("bin/python"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root)).await?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    run(pip.args(requirements.split_whitespace())).await?;
    std::fs::write(&stamp, requirements)?;
    Ok(python)
}

/// What a command prints, which must succeed.
pub(crate) async fn run(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.kill_on_drop(true).output().await.with_context(|| format!("{command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
}
