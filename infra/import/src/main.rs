//! `intake-import`, which `cargo intake import` builds and runs.

use std::process::ExitCode;

use clap::Parser;
use intake::deployment;
use intake::output::{Output, Verdict};
use intake::program::{self, EXIT_CODES, Globals};
use intake_import::command;

/// Import the predecessor's database, or the missing part of it, and compare both sides
#[derive(Parser)]
#[command(name = "intake-import", bin_name = "cargo intake import", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(flatten)]
    import: command::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match program::parse::<Cli>() {
        Ok(cli) => program::exit_code(run(&cli).await),
        Err(code) => code,
    }
}

async fn run(cli: &Cli) -> anyhow::Result<Verdict> {
    if let Some(stack) = &cli.globals.stack {
        deployment::name(stack).await?;
    }
    command::run(&cli.import, &Output::new(cli.globals.json)).await
}
