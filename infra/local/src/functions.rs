//! The functions: built with cargo, run from where cargo puts them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::{Say, workspace};

/// The binary of all functions: one link instead of fourteen.
const HOST: &str = "intake-functions";

/// A line of `cargo build --message-format json`. Other fields are not used.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds the binary of all functions and returns its path.
///
/// Selected by `--bin` and not by `--package`: dependencies then have the features that they have under `cargo test`, and
/// are compiled once for both.
pub(crate) async fn build(say: Say<'_>) -> Result<PathBuf> {
    say("building the functions");
    build_binary(HOST, say).await
}

/// Builds a binary of the workspace and returns its path.
///
/// # Errors
/// The messages of cargo, when it fails.
pub async fn build_binary(name: &str, say: Say<'_>) -> Result<PathBuf> {
    let built = cargo_build(&["--bin", name], say).await?;
    built.into_iter().next().context("cargo names no binary")
}

/// Builds a binary for each function, as the cloud has them, and returns their folder.
///
/// # Errors
/// The messages of cargo, when it fails.
pub async fn build_each(say: Say<'_>) -> Result<PathBuf> {
    let folders = std::fs::read_dir(workspace().join("functions"))?.flatten().filter(|entry| entry.path().is_dir());
    let mut arguments = Vec::new();
    for name in folders.filter_map(|entry| entry.file_name().into_string().ok()) {
        arguments.extend(["--bin".to_owned(), name]);
    }
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let built = cargo_build(&arguments, say).await?;
    built.first().and_then(|path| path.parent()).map(Path::to_owned).context("cargo names no binary")
}

/// Runs `cargo build`; returns the binaries.
async fn cargo_build(arguments: &[&str], say: Say<'_>) -> Result<Vec<PathBuf>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    // The outer cargo sets these for the package that it runs; inherited, they would rebuild build scripts.
    for (name, _) in std::env::vars_os() {
        let of_package = |prefix: &str| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") || of_package("CARGO_BIN_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .current_dir(workspace())
        .arg("build")
        .args(arguments)
        .args(["--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {}", cargo.display()))?;
    let mut messages = String::new();
    let mut stdout = child.stdout.take().context("cargo's output")?;
    let stderr = child.stderr.take().context("cargo's messages")?;
    let (read, complaint) = tokio::join!(stdout.read_to_string(&mut messages), relay(stderr, say));
    read.context("read cargo's output")?;
    if !child.wait().await?.success() {
        bail!("cargo failed:\n{complaint}");
    }
    Ok(messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable).collect())
}

/// Passes on each crate that cargo compiles; returns cargo's last lines.
async fn relay(stderr: impl tokio::io::AsyncRead + Unpin, say: Say<'_>) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let mut kept = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim_start().starts_with("Compiling") {
            say(&line);
        }
        kept.push(line);
    }
    kept.split_off(kept.len().saturating_sub(60)).join("\n")
}
