//! Parquet files, as others read them.

use super::python::{self, run};
use anyhow::Result;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use tokio::sync::OnceCell;

const REQUIREMENTS: &str = include_str!("../parquet/requirements.txt");

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/parquet/read.py");

/// The Python that has the readers, installed when it is first asked for.
async fn python() -> Result<PathBuf> {
    static PYTHON: OnceCell<PathBuf> = OnceCell::const_new();
    PYTHON.get_or_try_init(|| python::python("parquet-tools", REQUIREMENTS)).await.cloned()
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
