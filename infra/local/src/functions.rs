//! The functions: built with cargo, run by the emulator from where cargo puts them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;

use crate::{Say, workspace};

/// A line of `cargo build --message-format json`, as far as it concerns us.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
}

/// Builds every package under `functions/` and returns the folder of the binaries.
///
/// The whole workspace is named, and not the functions, so that dependencies get the same features as under `cargo test`
/// and are compiled once. The operator's command is left out: it may be what is running.
///
/// # Errors
/// When cargo cannot build them.
pub async fn build(say: Say<'_>) -> Result<PathBuf> {
    say("building the functions");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(&cargo);
    // What an outer cargo says about the package it runs is not meant for the one we start, and would rebuild things.
    for (name, _) in std::env::vars_os() {
        let of_package = |prefix: &str| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") || of_package("CARGO_BIN_") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .current_dir(workspace())
        .args(["build", "--workspace", "--exclude", "intake", "--message-format", "json-render-diagnostics"])
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
        bail!("cargo could not build the functions:\n{complaint}");
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok()?.executable)
        .find_map(|path| path.parent().map(Path::to_owned))
        .context("cargo names no binary")
}

/// Says now and then what cargo compiles; returns its last lines.
async fn relay(stderr: impl tokio::io::AsyncRead + Unpin, say: Say<'_>) -> String {
    let mut lines = BufReader::new(stderr).lines();
    let (mut kept, mut said) = (Vec::new(), Instant::now());
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim_start().starts_with("Compiling") && said.elapsed() > Duration::from_secs(3) {
            say(&line.trim_start().replacen('C', "c", 1));
            said = Instant::now();
        }
        kept.push(line);
    }
    kept.split_off(kept.len().saturating_sub(60)).join("\n")
}
