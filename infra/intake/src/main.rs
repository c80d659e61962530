//! Reads the command line, runs the command, and answers with its exit code: 0 all good, 2 some rows were rejected,
//! 1 it failed.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use intake::commands::{
    cancel, demo, doctor, down, export, generate, import, ingest, logs, metrics, migrate, redrive, rejects, resume,
    session, sessions, status, tenants, up, webhooks,
};
use intake::deployment;
use intake::output::{Output, Verdict};

/// Bulk ingestion for many shops: generate data, send it, and run the whole system on this machine
#[derive(Parser)]
#[command(name = "intake", bin_name = "cargo intake", version, after_help = EXIT_CODES)]
struct Cli {
    /// Make the last line of standard output one JSON object, and say the rest on standard error
    #[arg(long, global = true)]
    json: bool,
    /// Act on a deployment in AWS, by the name of its CloudFormation stack, instead of the local stack
    #[arg(long, global = true, env = "INTAKE_STACK_NAME", value_name = "NAME")]
    stack: Option<String>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 all good, 2 some rows were rejected, 1 failed";

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
    /// Take over the predecessor's database, or what is missing of it, and hold both sides against each other
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap's own code for the rest, 2, says here that rows were rejected.
            let code = if error.use_stderr() { Verdict::Failed } else { Verdict::Good };
            let _ = error.print();
            return code.code().into();
        }
    };
    match run(&cli).await {
        Ok(verdict) => verdict.code().into(),
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            Verdict::Failed.code().into()
        }
    }
}

async fn run(cli: &Cli) -> anyhow::Result<Verdict> {
    let output = &Output::new(cli.json);
    if let Some(stack) = &cli.stack {
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
        Command::Import(args) => import::run(args, output).await,
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

/// Whether the reader of our output went away, as with `| head`.
fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
