//! Reads the command line, runs the command, and answers with its exit code: 0 all good, 2 some rows were rejected,
//! 1 it failed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use intake::commands::{
    cancel, demo, doctor, down, export, generate, import, ingest, logs, metrics, migrate, redrive, rejects, resume,
    session, sessions, status, tenants, up, webhooks,
};
use intake::deployment;
use intake::output::{Output, Verdict};
use intake::program::{self, EXIT_CODES, Globals};

/// Bulk ingestion for many shops: generate data, send it, and run the whole system on this machine
#[derive(Parser)]
#[command(name = "intake", bin_name = "cargo intake", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the stack, load generated data through the API, and show what arrived
    Demo(demo::Args),
    /// Start the local stack
    Up(up::Args),
    /// End the local stack; its state is kept
    Down,
    /// Show the parts of the local stack
    Status,
    /// Show the logs of the local stack
    Logs(logs::Args),
    /// Check that this machine has what the local stack needs
    Doctor,
    /// Bring the database's schema up to date
    Migrate(migrate::Args),
    /// Count sales anew that are counted ahead
    Metrics(metrics::Args),
    /// Manage tenants and their keys
    Tenants(tenants::Args),
    /// Generate data files
    Gen(generate::Args),
    /// Send a folder of data files, or what is missing of it after an interruption
    Ingest(ingest::Args),
    /// Import the predecessor's database, or the missing part of it, and compare both sides
    #[command(disable_help_flag = true)]
    Import(import::Args),
    /// Let a session go on: send what is missing, try failed chunks again
    Resume(resume::Args),
    /// Cancel a session; what has been promoted stays
    Cancel(cancel::Args),
    /// List a tenant's sessions
    Sessions(sessions::Args),
    /// Show how far an upload session is
    Session(session::Args),
    /// Print the rejected rows of a session as NDJSON
    Rejects(rejects::Args),
    /// Write rows into a file on the server, and fetch it; once more, go on where that broke off
    Export(Box<export::Args>),
    /// Send dead letters back into the queues that they came from
    Redrive(redrive::Args),
    /// Show the secret that webhooks are signed with, and verify a signature
    Webhooks(webhooks::Args),
}

#[tokio::main]
async fn main() -> ExitCode {
    match program::parse::<Cli>() {
        Ok(cli) => program::exit_code(run(&cli).await),
        Err(code) => code,
    }
}

async fn run(cli: &Cli) -> anyhow::Result<Verdict> {
    let output = &Output::new(cli.globals.json);
    let is_import = matches!(cli.command, Command::Import(_)); // a program of its own, which looks the stack up itself
    if let (Some(stack), false) = (&cli.globals.stack, is_import) {
        deployment::name(stack).await?;
    }
    match &cli.command {
        Command::Demo(args) => demo::run(args, output).await,
        Command::Up(args) => up::run(args, output).await,
        Command::Down => down::run(output).await,
        Command::Status => status::run(output).await,
        Command::Logs(args) => logs::run(args, output).await,
        Command::Doctor => doctor::run(output).await,
        Command::Migrate(args) => migrate::run(args, output).await,
        Command::Metrics(args) => metrics::run(args, output).await,
        Command::Tenants(args) => tenants::run(args, output).await,
        Command::Gen(args) => generate::run(args, output),
        Command::Ingest(args) => ingest::run(args, output).await,
        Command::Import(args) => import::run(args, &cli.globals, output).await,
        Command::Resume(args) => resume::run(args, output).await,
        Command::Cancel(args) => cancel::run(args, output).await,
        Command::Sessions(args) => sessions::run(args, output).await,
        Command::Session(args) => session::run(args, output).await,
        Command::Rejects(args) => rejects::run(args, output).await,
        Command::Export(args) => export::run(args, output).await,
        Command::Redrive(args) => redrive::run(args, output).await,
        Command::Webhooks(args) => webhooks::run(args, output).await,
    }
}
