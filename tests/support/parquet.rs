//! Parquet files, as others read them.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use tokio::sync::OnceCell;

const REQUIREMENTS: &str = include_str!("../parquet/requirements.txt");

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/parquet/read.py");

/// The Python that has the readers, installed when it is first asked for.
async fn python() -> Result<PathBuf> {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    let install = async || {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target"));
        let root = target.join("parquet-tools");
        let (stamp, python) = (root.join("complete"), root.join("bin/python"));
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
            return Ok(python);
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&root)).await?;
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        run(pip.args(REQUIREMENTS.split_whitespace())).await?;
        std::fs::write(&stamp, REQUIREMENTS)?;
        Ok(python)
    };
    PYTHON.get_or_try_init(install).await.cloned()
}

async fn run(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.kill_on_drop(true).output().await.with_context(|| format!("{command:?}"))?;
    ensure!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
}

/// What pyarrow and DuckDB find in a file: of each `types` by column and `rows`, with values as texts where they would depend on
/// the reader.
pub(crate) async fn read(file: &[u8], name: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, file)?;
    let printed = run(Command::new(python().await?).arg(READER).arg(&path)).await;
    std::fs::remove_file(&path)?;
    Ok(serde_json::from_slice(&printed?)?)
}
