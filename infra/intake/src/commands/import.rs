//! `intake import`: runs `intake-import`, a program of its own with the drivers of four databases. `cargo intake demo` does
//! not compile them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::output::{Output, Verdict};
use crate::program::Globals;

/// The name of the program.
const PROGRAM: &str = "intake-import";

/// Options, which the program reads itself.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Options of the import; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Replaces this process by the program. Returns only with an error.
///
/// # Errors
/// A program that cannot be built, found or run.
pub async fn run(args: &Args, globals: &Globals, output: &Output) -> anyhow::Result<Verdict> {
    let program = program(output).await?;
    let mut command = Command::new(&program);
    if globals.json {
        command.arg("--json");
    }
    if let Some(stack) = &globals.stack {
        command.arg("--stack").arg(stack);
    }
    let error = command.args(&args.options).exec();
    Err(error).with_context(|| format!("run {}", program.display()))
}

/// In a checkout, the program as cargo builds it; of an installed command, the program beside it.
async fn program(output: &Output) -> anyhow::Result<PathBuf> {
    if std::env::var_os("CARGO").is_some() {
        return intake_local::build_binary(PROGRAM, &|line| output.progress(line)).await;
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let beside = own.with_file_name(PROGRAM);
    if !beside.exists() {
        bail!("{} does not exist. In a checkout of Intake: `cargo install --path infra/import`", beside.display());
    }
    Ok(beside)
}
