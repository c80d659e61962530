//! The frame of a command-line program: options of all commands, and exit codes.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use clap::Parser;

use crate::output::Verdict;

/// The last lines of every help text.
pub const EXIT_CODES: &str = "Exit codes: 0 all good, 2 some rows were rejected, 1 failed";

/// Options of every command.
#[derive(clap::Args, Clone, Debug)]
pub struct Globals {
    /// Make the last line of standard output one JSON object, and say the rest on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Act on a deployment in AWS, by the name of its CloudFormation stack, instead of the local stack
    #[arg(long, global = true, env = "INTAKE_STACK_NAME", value_name = "NAME")]
    pub stack: Option<String>,
}

/// Reads the command line. An error is printed, and its exit code is returned.
///
/// # Errors
/// 0 for help and version; 1 for wrong options, since clap's own 2 means rejected rows here.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let verdict = if error.use_stderr() { Verdict::Failed } else { Verdict::Good };
        let _ = error.print();
        verdict.code().into()
    })
}

/// Prints the error, if there is one. A closed pipe on the reader's side, as with `| head`, is no error.
pub fn exit_code(ended: anyhow::Result<Verdict>) -> ExitCode {
    match ended {
        Ok(verdict) => verdict.code().into(),
        Err(error) if reader_is_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            Verdict::Failed.code().into()
        }
    }
}

fn reader_is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
